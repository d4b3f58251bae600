"""Where a stream stands from one lumi section to the next: ok, to be watched, or drifting."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from monitor.stats.detect.detectors import promises_run_length
from monitor.terms import Level
from monitor.watch.settings import DetectSettings


def watched(detect: DetectSettings) -> float:
    """The p-value below which a difference is to be watched: √``p_value``, as two of them in a row make one."""
    return sqrt(detect.p_value)


class Levels:
    """Counts lumi sections and alarms, and enters and leaves a drift.

    It is entered by a difference below ``p_value`` (or, while a detector that promises its run length alarms, below
    √``p_value``) in the last of ``consecutive_ls`` lumi sections that all differed, but not in the first ``settle_ls``
    after a push. It is left where nothing differs any more.
    """

    def __init__(self, detect: DetectSettings) -> None:
        self.begin(detect, settle_ls=0)

    def begin(self, detect: DetectSettings, settle_ls: int) -> None:
        """Forget all lumi sections; a drift has to wait for so many."""
        self.drifting = False
        self._settle = settle_ls
        self._age = 0
        self._row = 0
        # Lumi sections since the last alarm with a promise: none so far is as good as long ago.
        self._since_alarm = detect.consecutive_ls

    def after(self, p_value: float | None, alarms: Sequence[str], detect: DetectSettings) -> Level:
        """The level of the next lumi section, whose least probable difference has this p-value, None without any."""
        self._age += 1
        self._row = 0 if p_value is None else self._row + 1
        self._since_alarm = 0 if any(map(promises_run_length, alarms)) else self._since_alarm + 1
        if p_value is None:
            return "watch" if alarms else "ok"
        limit = watched(detect) if self._since_alarm < detect.consecutive_ls else detect.p_value
        if p_value < limit and self._row >= detect.consecutive_ls and self._age > self._settle:
            self.drifting = True
        return "drift" if self.drifting else "watch"
