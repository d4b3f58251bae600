"""What became of every message of a source: counted once, or reported."""

from __future__ import annotations

from dataclasses import dataclass, field

RECENT = 4096
"""Sequence numbers a source may be late by and still be told from a duplicate."""


@dataclass
class Accounting:
    """What became of every message of one (source, run): counted once, or reported."""

    received: int = 0
    missed: int = 0
    recovered: int = 0
    duplicates: int = 0
    late: int = 0
    next_seq: int | None = None
    missing: dict[int, None] = field(default_factory=dict)

    @property
    def lost(self) -> int:
        """Messages that were missed and have not come since."""
        return self.missed - self.recovered

    def accept(self, seq: int) -> bool:
        """Count a message in; False if it is a duplicate."""
        if seq == self.next_seq:
            self.next_seq = seq + 1
        elif self.next_seq is None or seq > self.next_seq:
            gap = range(self.next_seq if self.next_seq is not None else seq, seq)
            self.missed += len(gap)
            self.missing.update(dict.fromkeys(gap[-RECENT:]))
            while len(self.missing) > RECENT:
                del self.missing[next(iter(self.missing))]
            self.next_seq = seq + 1
        elif seq in self.missing:
            del self.missing[seq]
            self.recovered += 1
        else:
            self.duplicates += 1
            return False
        self.received += 1
        return True

    def plus(self, other: Accounting) -> Accounting:
        """The totals of both, without the sequence."""
        return Accounting(
            self.received + other.received,
            self.missed + other.missed,
            self.recovered + other.recovered,
            self.duplicates + other.duplicates,
            self.late + other.late,
        )
