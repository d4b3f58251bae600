"""When things happened in the demo."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

EVENTS = {
    "drift": "drift injected",
    "alarm": "drift alarm",
    "active": "new payload active",
    "confirmed": "confirmed",
    "pileup": "pile-up falls",
    "end": "end",
}
"""What can happen, in the order in which it does, and its name in the report."""


@dataclass
class Marks:
    """When things happened: (lumi section, seconds since the start), by the names of ``EVENTS``."""

    start: float = field(default_factory=time.monotonic)
    at: dict[str, tuple[int, float]] = field(default_factory=dict)

    def set(self, name: str, ls: int) -> None:
        """Note that something happened now, unless it was noted before."""
        self.at.setdefault(name, (ls, time.monotonic() - self.start))

    def ls(self, name: str) -> int:
        """The lumi section in which it happened."""
        return self.at[name][0]
