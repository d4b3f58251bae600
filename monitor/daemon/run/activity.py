"""What a stream has done since the daemon started."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from monitor.loop import events
from monitor.loop.events import Event
from monitor.loop.states import Phase


@dataclass
class Activity:
    """Counts and times of one stream; times are Unix seconds."""

    ls_closed: int = 0
    judged_at: float = field(default_factory=time.time)
    entered_at: float = field(default_factory=time.time)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    entries: Counter[Phase] = field(default_factory=Counter)

    def count(self, event: Event) -> None:
        """Count what became of a piece of work."""
        match event:
            case events.FitEnded():
                self.outcomes["fit", "accepted" if event.accepted else "rejected"] += 1
            case events.Previewed():
                self.outcomes["preview", "good" if event.good else "bad"] += 1
            case events.Armed():
                self.outcomes["push", "armed"] += 1
            case events.Latched():
                self.outcomes["push", "latched"] += 1
            case events.PushJudged():
                self.outcomes["push", "harmful" if event.harmful else "good"] += 1
