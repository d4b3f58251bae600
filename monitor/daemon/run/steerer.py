"""The cuts of a stream that holds its rates: where they should be when a payload that is made now decides."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from firmware.model.payload import Payload
from monitor.config import StreamSettings
from monitor.daemon.run.loaded import LoadedStream
from monitor.stats.steering import Steering
from monitor.watch.report import Expectation, LsReport

STEER_LS = 1
"""Lumi sections after the swap for which the cuts are made."""

Rates = npt.NDArray[np.float64]


class Steerer:
    """Follows the tail and the pile-up of one stream."""

    def __init__(self, loaded: LoadedStream) -> None:
        self._reference = loaded.reference
        self._steering = Steering(
            loaded.reference, loaded.reference.target_rates, loaded.settings.recalibrate.steer_band
        )
        self.use(loaded.settings)

    def use(self, settings: StreamSettings) -> None:
        """Go by other settings from now on."""
        self._ahead_ls = settings.push.arm_margin_ls + STEER_LS
        self._steering.band = settings.recalibrate.steer_band

    def see(self, report: LsReport) -> None:
        """Learn from a lumi section of the active payload."""
        self._steering.update(report.window.counts, report.expected, report.pileup)

    def moved(self, active: Payload, expectation: Expectation) -> Payload | None:
        """The active payload with the cuts that will hold the rates, if they are others."""
        pileup = self._pileup_ahead()
        if not self._reference.covers(pileup):
            return None
        expected = expectation.on(self._reference.expected(pileup))
        moved = active.replace(cuts=self._steering.cuts(expected, active.raw("cuts")))
        return None if moved.id == active.id else moved

    def rates(self, rates: Rates, pileup: float, active: Payload) -> Rates:
        """What a fit at this pile-up must restore (n_cuts,), so that ``rates`` are held when it decides."""
        now, then = (self._reference.expected(mu) for mu in (pileup, self._pileup_ahead()))
        return rates / self._steering.change(now, then, active.raw("cuts"))

    def adopt(self, payload: Payload) -> None:
        """Begin anew where the scores of a payload mean something else: its cuts alone make no difference."""
        self._steering.begin_anew(payload.replace(cuts=np.zeros_like(payload.raw("cuts"))).id)

    def _pileup_ahead(self) -> float | None:
        """The pile-up when a payload that is made now decides."""
        return self._steering.ahead(self._ahead_ls)
