"""One trigger algorithm on the simulated board: it decides, counts, and picks events to publish."""

from dataclasses import dataclass
from threading import RLock
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from firmware.datapath.emulator import Execute
from firmware.model.fixed import Words
from firmware.model.model import Model
from firmware.model.package import Package
from firmware.model.payload import Payload
from firmware.sim.bank import Bank, Counts
from firmware.sim.registers import RegisterBank

Accepts = npt.NDArray[np.bool_]


class DecidingBank(RegisterBank, Protocol):
    """The registers of a stream, and what decides with them."""

    @property
    def generation(self) -> int:
        """The active generation."""

    @property
    def active(self) -> Payload:
        """The active payload."""

    def decide(self, events: npt.NDArray[Any], lock: RLock) -> tuple[Words, Accepts]:
        """Codes (n,) and accept bits (n, n_cuts) of n events, of which the last counts nowhere.

        The preview, where it is on, sees those that count. `lock` guards the registers.
        """

    def end_ls(self, counts: Counts) -> None:
        """Publish what the lumi section counted."""


class EmulatedBank(Bank):
    """A bank that decides with an execution of the datapath in software."""

    def __init__(self, model: Model, nominal: Payload, execute: Execute) -> None:
        super().__init__(model, nominal)
        self._execute = execute

    def decide(self, events: npt.NDArray[Any], lock: RLock) -> tuple[Words, Accepts]:
        """See `DecidingBank.decide`; `lock` is held only where the preview is begun and counted."""
        # The lock is not held while the datapath runs, or every access of the bus would wait for it. What was written
        # to the shadow bank meanwhile is told by the trial's revision.
        words = self._execute(events, self.active)
        with lock:
            trial = self.trial(len(events) - 1)
        if trial is not None:
            tried = self._execute(events[:-1][trial.picks], trial.payload)
            with lock:
                self.count_trial(trial, tried.accepts)
        return words.codes, words.accepts

    def end_ls(self, counts: Counts) -> None:
        """See `DecidingBank.end_ls`."""
        self.counts = counts


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which events are published.

    Each event with the probability 1/`prescale`, and always those with a code from `tail` of the way between the
    median of the package's golden codes and its loosest cut on: what a loss has moved below the cut is then known
    as well as what is above.
    """

    prescale: int = 100
    tail: float = 0.75

    def tail_code(self, package: Package) -> int:
        """The code from which on every event of a package is published."""
        middle = float(np.median(package.golden_codes))
        return int(middle + self.tail * (int(package.nominal.raw("cuts").min()) - middle))


class Stream:
    """A package in operation: its registers, its counters, its sample of events."""

    def __init__(self, package: Package, bank: DecidingBank, sampling: Sampling, seed: np.random.SeedSequence) -> None:
        cuts = package.nominal.raw("cuts")
        self.name = package.model.name
        self.bank = bank
        self.width = package.model.n_features
        self.dtype = "u2" if package.model.code_type.width <= 16 else "u4"
        self.messages = 0
        self.dropped = 0
        self.events = 0
        self.accepts = np.zeros(len(cuts), np.int64)
        self._zero_bias = 1 / sampling.prescale
        self._tail_code = sampling.tail_code(package)
        self._random = np.random.Generator(np.random.PCG64(seed))
        self._before = (0, self.accepts.copy())

    def begin_ls(self) -> None:
        """Remember the totals so far, which `end_ls` takes off."""
        self._before = (self.events, self.accepts.copy())

    def end_ls(self, ls: int) -> None:
        """Put the lumi section's counts into the registers."""
        events, accepts = self._before
        self.bank.end_ls(
            Counts(
                ls,
                self.bank.generation,
                self.events - events,
                self.dropped,
                tuple((self.accepts - accepts).tolist()),
            )
        )

    def decide(self, events: npt.NDArray[np.int16], lock: RLock) -> tuple[Words, int]:
        """Run n colliding crossings, and the preview where it is on.

        Returns their codes (n,) and the code of an empty crossing. `lock` guards the bank.
        """
        empty = np.zeros((1, events.shape[1]), events.dtype)
        codes, accepts = self.bank.decide(np.concatenate((events, empty)), lock)
        self.events += len(events)
        self.accepts += accepts[:-1].sum(axis=0)
        return codes[:-1], int(codes[-1])

    def sample(self, codes: Words) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
        """The indices of the events to publish, and their inclusion probabilities."""
        tail = codes >= self._tail_code
        index = np.flatnonzero(tail | (self._random.random(len(codes)) < self._zero_bias))
        return index, np.where(tail[index], 1, self._zero_bias).astype(np.float32)
