"""Telling people how a long piece of work goes on."""

from collections.abc import Callable

Progress = Callable[[str], None]
"""Is called with a line of text at every step."""


def silent(text: str) -> None:
    """Tell nobody."""
