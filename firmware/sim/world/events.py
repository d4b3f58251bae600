"""Level-1 events: what happened in a crossing, before the detector saw it."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from firmware.sim.world.calorimeter import REGIONS, SOFT_ET, regions
from firmware.sim.world.detector import EG, JET, MU, OBJECTS, TAU, WIDTH, Floats32, Response, Truth, digitise

__all__ = ["SIGNALS", "VIEWS", "Generator", "Truth", "View", "digitise", "regions"]


class View(Protocol):
    """How a detector in some state shows crossings to an algorithm: inputs (n, width)."""

    def __call__(self, truth: Truth, response: Response = ..., /) -> npt.NDArray[np.int16]:
        """The inputs (n, width) of crossings whose objects the detector sees with a response."""


VIEWS: dict[int, View] = {WIDTH: digitise, REGIONS: regions}
"""What a trigger algorithm sees of a crossing, by the number of its inputs."""

SIGNALS = ("resonance", "multilepton")

SCATTERINGS = 5
JET_P0, JET_ALPHA = 9.0, 4.2
EG_SOFT = 1.5
MU_PER_INTERACTION, MU_P0, MU_ALPHA = 0.003, 4.0, 2.8
MET_STOCHASTIC = 0.5


class Generator:
    """Seeded source of proton-proton crossings as a Level-1 trigger meets them.

    The hardest scatterings among N ~ Poisson(pile-up) interactions follow a falling Tsallis
    spectrum, P(> p_T) = (1 + p_T/p₀)^−α; the k-th hardest is p₀((N/Γ_k)^{1/α} − 1) with Γ_k the
    k-th arrival of a unit Poisson process. Each gives two jets back to back in φ; e/γ are
    electromagnetic fragments of jets or soft pile-up, muons are rare. MET is that of the calorimeter:
    minus the jets' sum plus a soft term of width 0.5 √(ΣE_T/GeV) GeV.

    >>> truth = Generator(1).draw(2, pileup=50)
    >>> digitise(truth).shape, regions(truth).shape
    ((2, 57), (2, 252))
    """

    def __init__(self, seed: int | np.random.SeedSequence) -> None:
        self._seed = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
        self._random = np.random.Generator(np.random.PCG64(self._seed))
        self._draws = 0

    def draw(self, n: int, pileup: float | npt.NDArray[np.float64]) -> Truth:
        """n background events at mean pile-up `pileup`: one number, or one per event (n,)."""
        interactions = self._random.poisson(pileup, n).astype(np.float32)[:, None]
        pt, eta, phi = np.empty((3, n, OBJECTS), np.float32)
        self._jets(interactions, pt, eta, phi)
        self._clusters(pt, eta, phi)
        self._muons(interactions, pt, eta, phi)
        for scale in (EG, MU, JET):
            pt[:, scale.columns] *= np.abs(eta[:, scale.columns]) < scale.eta_max
        return self._crossing(interactions[:, 0], pt, eta, phi)

    def draw_signal(self, kind: str, n: int, pileup: float | npt.NDArray[np.float64]) -> Truth:
        """n events of a signal, one of `SIGNALS`, on top of pile-up.

        "resonance": a particle of some 400 GeV to two jets, recoiling against an invisible one.
        "multilepton": a soft decay to two to four muons, two electrons and four jets.

        Raises:
            ValueError: unknown kind.
        """
        if kind not in SIGNALS:
            raise ValueError(f"unknown signal {kind!r}, expected one of {', '.join(SIGNALS)}")
        truth = self.draw(n, pileup)
        if kind == "resonance":
            self._resonance(truth)
        else:
            self._multilepton(truth)
        return truth

    def _spectrum(self, mean: Floats32, n: int, p0: float, alpha: float) -> Floats32:
        """Falling p_T (GeV) of the n hardest of Poisson(mean) draws; not positive where there are fewer."""
        arrivals = np.maximum(np.cumsum(self._exponential(len(mean), n), axis=1), 1e-9)
        return (p0 * ((mean / arrivals) ** (1 / alpha) - 1)).astype(np.float32, copy=False)

    def _uniform(self, low: float, high: float, *shape: int) -> Floats32:
        return self._random.random(shape, np.float32) * (high - low) + low

    def _exponential(self, *shape: int) -> Floats32:
        return self._random.standard_exponential(shape, np.float32)

    def _normal(self, *shape: int) -> Floats32:
        return self._random.standard_normal(shape, np.float32)

    def _jets(self, interactions: Floats32, pt: Floats32, eta: Floats32, phi: Floats32) -> None:
        """Two jets of each scattering, in columns k and k + 5 of the jets, with their resolution."""
        n, k = len(pt), SCATTERINGS
        hard = np.maximum(self._spectrum(interactions, k, JET_P0, JET_ALPHA), 0.1)
        boost, opening = 1.5 * self._normal(n, k), 0.9 * self._normal(n, k)
        axis = self._uniform(0, TAU, n, k)
        start = JET.columns.start
        first, second = slice(start, start + k), slice(start + k, start + 2 * k)
        eta[:, first], eta[:, second] = boost + opening, boost - opening
        phi[:, first] = axis
        phi[:, second] = np.mod(axis + np.pi + 0.25 * self._normal(n, k), TAU)
        pt[:, first] = pt[:, second] = hard
        jets = pt[:, JET.columns]
        jets *= np.maximum(1 + np.sqrt(0.7 / jets + 0.01) * self._normal(n, 2 * k), 0)

    def _clusters(self, pt: Floats32, eta: Floats32, phi: Floats32) -> None:
        """e/γ: a fragment of each of four jets, or soft pile-up where the jet is out of acceptance."""
        n = len(pt)
        jets = slice(JET.columns.start, JET.columns.start + 4)
        central = np.abs(eta[:, jets]) < EG.eta_max
        share = self._uniform(0, 1, n, 4) ** 6
        soft = EG_SOFT * self._exponential(n, 4)
        pt[:, EG.columns] = soft + share * pt[:, jets] * central
        eta[:, EG.columns] = np.where(central, eta[:, jets], self._uniform(-EG.eta_max, EG.eta_max, n, 4))
        phi[:, EG.columns] = np.where(central, phi[:, jets], self._uniform(0, TAU, n, 4))

    def _muons(self, interactions: Floats32, pt: Floats32, eta: Floats32, phi: Floats32) -> None:
        n = len(pt)
        mean = interactions * MU_PER_INTERACTION
        pt[:, MU.columns] = np.maximum(self._spectrum(mean, 4, MU_P0, MU_ALPHA), 0)
        eta[:, MU.columns] = self._uniform(-MU.eta_max, MU.eta_max, n, 4)
        phi[:, MU.columns] = self._uniform(0, TAU, n, 4)

    def _crossing(self, interactions: Floats32, pt: Floats32, eta: Floats32, phi: Floats32) -> Truth:
        n = len(pt)
        sum_et = pt[:, JET.columns].sum(axis=1) + SOFT_ET * interactions
        resolution = MET_STOCHASTIC * np.sqrt(sum_et)
        tower = np.stack((self._uniform(0, 1, n), self._exponential(n)), axis=1)
        self._draws += 1
        return Truth(
            pt,
            eta,
            phi,
            soft=resolution[:, None] * self._normal(n, 2),
            resolution=resolution,
            smear=self._normal(n, OBJECTS),
            met=self._normal(n, 2),
            tower=tower,
            interactions=interactions,
            field=np.random.SeedSequence(self._seed.entropy, spawn_key=(*self._seed.spawn_key, self._draws)),
        )

    def _resonance(self, truth: Truth) -> None:
        """Two jets in the last jet columns, unbalanced by an invisible particle."""
        n = len(truth)
        momentum = 0.5 * (400 + 40 * self._normal(n)) * np.sqrt(1 - self._uniform(0, 1, n) ** 2)
        axis = self._uniform(0, TAU, n)
        invisible = 30 + 80 * self._exponential(n, 1)
        away = self._uniform(0, TAU, n)
        first = momentum[:, None] * np.stack((np.cos(axis), np.sin(axis)), axis=1)
        second = -first - invisible * np.stack((np.cos(away), np.sin(away)), axis=1)
        for column, jet in zip((16, 17), (first, second), strict=True):
            truth.pt[:, column] = np.hypot(*jet.T) * (1 + 0.12 * self._normal(n))
            truth.phi[:, column] = np.mod(np.arctan2(jet[:, 1], jet[:, 0]), TAU)
            truth.eta[:, column] = np.clip(self._normal(n), -4, 4)

    def _multilepton(self, truth: Truth) -> None:
        """Soft muons, electrons (each also a jet) and jets in the last columns of each type."""
        n = len(truth)
        for columns, low, mean, spread in (
            (slice(5, 8), 4, 10, 1.0),
            (slice(2, 4), 8, 12, 1.0),
            (slice(14, 18), 12, 12, 1.5),
        ):
            k = columns.stop - columns.start
            truth.pt[:, columns] = low + mean * self._exponential(n, k)
            truth.eta[:, columns] = np.clip(spread * self._normal(n, k), -2.4, 2.4)
            truth.phi[:, columns] = self._uniform(0, TAU, n, k)
        truth.pt[:, 5] *= self._uniform(0, 1, n) < 0.5
        for array in (truth.pt, truth.eta, truth.phi):
            array[:, 12:14] = array[:, 2:4]
