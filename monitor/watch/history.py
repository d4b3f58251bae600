"""What a stream has been like: its lumi sections, and the windows of them in which they differ."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from monitor.stats.compare.stretch import Endings, Stretch
from monitor.stats.count.window import Dyadic
from monitor.terms import Moment
from monitor.watch.settings import DetectSettings

RECENT_LS = 64
"""Lumi sections kept one by one, for the onset; older ones are kept at dyadic lengths."""
DOUBT, STAYING = 0.01, 0.5
"""p-values of a difference's being tolerated below which a drift is entered and stays."""


@dataclass(frozen=True, eq=False)
class Look:
    """A window in which the scores, or their rate at a cut, differ: how probable that is after all looks."""

    p_value: float
    window: Stretch
    cut: int | None


class History:
    """The lumi sections since the scores last changed their meaning, in flat memory."""

    def __init__(self) -> None:
        # Held twice: whole for the windows that end now, and with the newest one by one, so that an onset can be
        # dated to a lumi section.
        self._past = Dyadic[Stretch]()
        self._recent: deque[Stretch] = deque()
        self._before = Dyadic[Stretch]()

    def clear(self) -> None:
        """Forget all of them."""
        self._past.clear()
        self._recent.clear()
        self._before.clear()

    def add(self, newest: Stretch) -> None:
        """Take in the next lumi section."""
        self._past.push(newest)
        self._recent.append(newest)
        if len(self._recent) > RECENT_LS:
            self._before.push(self._recent.popleft())

    @property
    def rows(self) -> list[Stretch]:
        """All of them, oldest first: the recent ones one by one, those before at dyadic lengths."""
        return [*reversed(list(self._before.newest_first())), *self._recent]

    def alike_since(self, tolerated_kl: float) -> Moment:
        """The begin of the longest window, ending now, that differs from its own end by no more than is tolerated."""
        newest, *older = self._past.newest_first()
        for before in older:
            if newest.differs(before, tolerated_kl, DOUBT):
                break
            newest = before + newest
        return newest.since

    def look(self, detect: DetectSettings, p_value: float, shapes: bool, held: bool, drifting: bool) -> Look | None:
        """The least probable of the windows that end now, if it is below a p-value: by its shape, else by a rate.

        The i-th window pays i (i + 1) for being looked at, since Σ 1/(i (i + 1)) = 1, and its questions share that.
        One whose difference may be tolerated does not count, nor one whose drift is over in its later part.

        Args:
            detect: What is tolerated.
            p_value: Only a look below it counts.
            shapes: Whether shapes are asked for, beside the rates.
            held: Whether the rates have targets, known without error.
            drifting: Whether there is a drift that may stay, for which less is asked than for entering one.
        """
        windows = Endings(list(self._past.newest_first()))
        cuts: list[int | None] = list(range(len(windows[0].above)))
        asked = [None, *cuts] if shapes else cuts
        doubt = STAYING if drifting else DOUBT
        looks = []
        for i in windows.beyond(detect.tolerated_kl, detect.rate_tolerance, shapes):
            window = windows[i]
            rates = window.rate_p_values(detect.rate_tolerance, doubt, known=held)
            for cut in asked:
                found = window.shape_p_value(detect.tolerated_kl, doubt) if cut is None else float(rates[cut])
                looks.append((found * (i + 1) * (i + 2) * len(asked), i, cut))
        looks = [look for look in looks if look[0] < p_value]
        for found, i, cut in sorted(looks, key=lambda look: (look[2] is not None, look[0])):
            if all(windows[i].still(windows[part], cut) for part in range(i)):
                return Look(found, windows[i], cut)
        return None
