"""A proposal in words and rows, for the terminal and for its figure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from recalib.proposal import Candidate, Gate, Proposal

PASSED, FAILED, ADVISED = "✓", "✗", "!"
"""Marks of gates that pass, fail, or leave it to a person."""
CHOSEN = "▶"
"""Mark of the proposed candidate."""
MOST_MOVES = 4
"""Moves that are told of a knob, the largest ones; the others by their number."""


class Row(NamedTuple):
    """Cells of a table, and the mark in front of them, "" where there is nothing to point out."""

    mark: str
    cells: tuple[str, ...]


CANDIDATE_TITLES = ("knob", "KL", "rates / target", "kept", "as before", "expl.", "moves", "verdict")
GATE_TITLES = ("gate", "number", "limit", "what it is")


def decision(proposal: Proposal) -> str:
    """What is to become of it."""
    if not proposal.accepted:
        return "rejected"
    return "needs a person" if proposal.attention else "accepted"


def candidate_rows(proposal: Proposal) -> list[Row]:
    """One a knob; the proposed one is marked."""
    return [_candidate(candidate, proposal) for candidate in proposal.candidates]


def gate_rows(proposal: Proposal) -> list[Row]:
    """One a gate, each with its mark."""
    return [
        Row(_mark(gate), (gate.name, _number(gate.value), _number(gate.limit), gate.text)) for gate in proposal.gates
    ]


def lines(proposal: Proposal) -> Iterator[str]:
    """The proposal as plain text: verdict, candidates and gates."""
    yield f"{proposal.stream}: proposal {proposal.id[:12]}, {proposal.knob}: {decision(proposal)}"
    if proposal.attention:
        yield f"  {ADVISED} {proposal.attention}"
    for titles, rows in ((CANDIDATE_TITLES, candidate_rows(proposal)), (GATE_TITLES, gate_rows(proposal))):
        if rows:
            yield from _aligned([Row("", titles), *rows])


def _aligned(rows: list[Row]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*(row.cells for row in rows), strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row.cells, widths, strict=True))
        yield f"  {row.mark or ' '} {'  '.join(cells)}".rstrip()


def _candidate(candidate: Candidate, proposal: Proposal) -> Row:
    chosen = candidate.knob == proposal.knob
    if math.isnan(candidate.kl):
        return Row("", (str(candidate.knob), "", "", "", "", "", "", candidate.verdict))
    rates = zip(candidate.rates, proposal.rates_target, strict=True)
    return Row(
        CHOSEN if chosen else "",
        (
            str(candidate.knob),
            f"{candidate.kl:.4f} ± {candidate.kl_error:.4f}",
            " ".join(f"{rate / target:.2f}" for rate, target in rates),
            f"{candidate.retention:.0%}",
            " ".join(f"{share:.0%}" for share in candidate.estimated_overlap),
            f"{candidate.explained:.0%}" if candidate.explained else "",
            _moves(candidate),
            candidate.verdict,
        ),
    )


def _moves(candidate: Candidate) -> str:
    """The largest moves: scales in per cent of ln with the errors of their fit, the others in codes."""
    fitted, errors = set(candidate.errors), candidate.errors
    scales = sorted((name for name in candidate.moves if name in fitted), key=lambda name: -abs(candidate.moves[name]))
    told = [f"{name} {100 * candidate.moves[name]:+.1f} ± {100 * errors[name]:.1f} %" for name in scales[:MOST_MOVES]]
    if len(scales) > MOST_MOVES:
        told.append(f"{len(scales) - MOST_MOVES} more")
    told += [f"{name} {step:+.0f} codes" for name, step in candidate.moves.items() if name not in fitted]
    return ", ".join(told)


def _mark(gate: Gate) -> str:
    if gate.passed:
        return PASSED
    return ADVISED if gate.advice else FAILED


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
