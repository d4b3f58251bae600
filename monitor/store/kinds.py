"""Kinds of the ledger's events that are asked for by name."""

ANNOUNCEMENT = "announcement"
"""What a loop says it does."""
PHASE = "phase"
"""A loop has entered another phase."""
JUDGEMENT = "judgement"
"""A payload in force was held against the one before."""


def order_kind(word: str) -> str:
    """The kind of an operator's order, by its name."""
    return f"order {word}"
