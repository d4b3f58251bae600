"""Detectors of drift on block counts, with one interface."""

from collections.abc import Callable, Sequence
from functools import partial
from math import inf, log10
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from river import drift
from scipy.special import rel_entr

from monitor.stats.binning import Binning, FloatArray, StatsError
from monitor.stats.divergence import compare
from monitor.stats.mixture import RUN_LENGTH, EMixture, RateDetector
from monitor.stats.reference import Expected
from monitor.stats.tilts import SIZES, bank, directions, shapes

Statistic = Callable[[NDArray[Any], FloatArray, float], float]


class Detector(Protocol):
    """`update` with the counts (C,) of one block on the reference's cells, and what to expect of it."""

    @property
    def drift_detected(self) -> bool: ...

    @property
    def statistic(self) -> float: ...

    def update(self, counts: NDArray[Any], expected: Expected) -> None: ...

    def reset(self) -> None: ...


class ChiSquare:
    """Alarm on a block of N scores whose χ² p-value for a drift beyond δ is below N/A.

    Without memory: quick for a large drift, blind to a small one that lasts. The false alarms come
    A scores apart as far as χ² describes the far tail, which is not promised.

    Examples
    --------
    >>> detector = ChiSquare(target_run_length=1e6)
    >>> detector.update(np.array([400, 600]), Expected.known([0.5, 0.5]))
    >>> detector.drift_detected, round(detector.statistic, 1)
    (True, 9.7)
    """

    def __init__(self, target_run_length: float = RUN_LENGTH, tolerated: float = 0.0, phi: float = 1.0) -> None:
        self.target_run_length = target_run_length
        self.tolerated = tolerated
        self.phi = phi
        self.reset()

    def reset(self) -> None:
        self.statistic = 0.0
        self.drift_detected = False

    def update(self, counts: NDArray[Any], expected: Expected) -> None:
        if not counts.sum():
            return
        bins = expected.bins(counts)
        found = compare(bins, expected.p, expected.m, tolerated=self.tolerated, phi=self.phi)
        self.statistic = -log10(max(found.p_value_tolerated, 1e-300))
        self.drift_detected = found.p_value_tolerated < found.n / self.target_run_length


class OnStatistic:
    """One of river's scalar detectors on a statistic of each block; promises no run length.

    Parameters
    ----------
    of_block
        (counts, p, m) to a number of order 1, such as `kl_per_block` or `rate_per_block(binning)`.
    detector
        A `river.drift` detector that has seen nothing yet.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> p = np.array([0.5, 0.3, 0.2])
    >>> detector = OnStatistic(kl_per_block, drift.ADWIN())
    >>> for block in range(400):
    ...     truth = p if block < 200 else [0.45, 0.3, 0.25]
    ...     detector.update(rng.multinomial(1000, truth), Expected.known(p))
    ...     if detector.drift_detected:
    ...         print(f"drift in block {block}")
    ...         break
    drift in block 223
    """

    def __init__(self, of_block: Statistic, detector: Any) -> None:
        self.of_block = of_block
        self._unused = detector
        self.reset()

    def reset(self) -> None:
        self.detector = self._unused.clone()
        self.statistic = 0.0

    @property
    def drift_detected(self) -> bool:
        return bool(self.detector.drift_detected)

    def update(self, counts: NDArray[Any], expected: Expected) -> None:
        if counts.sum():
            self.statistic = self.of_block(expected.bins(counts), expected.p, expected.m)
            self.detector.update(self.statistic)


def kl_per_block(counts: NDArray[Any], p: FloatArray, m: float = inf) -> float:
    """KL of a block over what statistics alone give: 2 N' KL(current ‖ p) / (B − 1), mean 1 without drift."""
    n = counts.sum()
    return float(2 * rel_entr(counts / n, p).sum() / (1 / n + 1 / m) / (len(p) - 1))


def rate_per_block(binning: Binning, cut: int = 0) -> Statistic:
    """Distance of the rate above `binning.cuts[cut]` from that of p, in standard deviations."""
    if not 0 <= cut < len(binning.cuts):
        raise StatsError(f"cut {cut}: expected the index of one of the cuts {binning.cuts}")
    first = int(binning.cut_bins[cut])

    def pull(counts: NDArray[Any], p: FloatArray, m: float = inf) -> float:
        n, rate = counts.sum(), p[first:].sum()
        return float((counts[first:].sum() / n - rate) / np.sqrt(rate * (1 - rate) * (1 / n + 1 / m)))

    return pull


class Binned(Protocol):
    """What a detector is made for: a binning, its p (B,) and that of its cells (C,), such as a `Reference`."""

    @property
    def binning(self) -> Binning: ...

    @property
    def p(self) -> FloatArray: ...

    @property
    def cell_p(self) -> FloatArray: ...


def make_detector(name: str, reference: Binned, **settings: Any) -> Detector:
    """A detector by its name in `DETECTORS`; `settings` are those of its class.

    ``e_mixture`` takes `sizes` (of its bank) too, and the ``*_rate`` detectors of river the index `cut`.

    Raises StatsError on names and settings that do not exist and on settings out of range.
    """
    if name not in DETECTORS:
        raise StatsError(f"detector {name!r}: expected one of {', '.join(DETECTORS)}")
    try:
        return DETECTORS[name](reference, **settings)
    except (TypeError, ValueError) as error:
        raise StatsError(f"detector {name!r}: {error}") from error


def _e_mixture(reference: Binned, sizes: Sequence[float] = SIZES, **settings: float) -> Detector:
    p = reference.p
    along = [direction for direction in directions(reference.binning, p) if direction.kind != "bin"]
    return EMixture(bank([*along, *shapes(p)], sizes), cells=reference.cell_p, **settings)


def _on_kl(river: Callable[..., Any]) -> Callable[..., Detector]:
    return lambda reference, **settings: OnStatistic(kl_per_block, river(**settings))


def _on_rate(river: Callable[..., Any]) -> Callable[..., Detector]:
    return lambda reference, cut=0, **settings: OnStatistic(rate_per_block(reference.binning, cut), river(**settings))


_RIVER: dict[str, Callable[..., Any]] = {
    "adwin": drift.ADWIN,
    "page_hinkley": drift.PageHinkley,
    "kswin": partial(drift.KSWIN, seed=0),
}
DETECTORS: dict[str, Callable[..., Detector]] = {
    "e_mixture": _e_mixture,
    "e_rate": lambda reference, **settings: RateDetector(reference.binning, reference.p, **settings),
    "chi_square": lambda reference, **settings: ChiSquare(**settings),
    **{f"{name}_kl": _on_kl(river) for name, river in _RIVER.items()},
    **{f"{name}_rate": _on_rate(river) for name, river in _RIVER.items()},
}
