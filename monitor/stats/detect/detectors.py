"""Detectors of drift on block counts, with one interface."""

from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import rel_entr

from monitor.stats.arrays import FloatArray
from monitor.stats.count.binning import Binning
from monitor.stats.count.expected import Expected
from monitor.stats.detect.glr import Glr
from monitor.stats.detect.mixture import ECusum, EMixture, RateDetector
from monitor.stats.errors import StatsError

Statistic = Callable[[NDArray[Any], FloatArray, float], float]


class Detector(Protocol):
    """`update` with the counts (C,) of one block on the reference's cells, and what to expect of it.

    `phi` is the overdispersion of the blocks up to then, see `monitor.stats.compare.dispersion`.
    """

    @property
    def drift_detected(self) -> bool: ...

    @property
    def statistic(self) -> float: ...

    @property
    def words(self) -> str:
        """What it has seen, nothing where it cannot tell."""
        ...

    def update(self, counts: NDArray[Any], expected: Expected, phi: float = 1.0) -> None: ...

    def reset(self) -> None: ...


class OnStatistic:
    """One of river's scalar detectors on a statistic of each block; promises no run length.

    Args:
        of_block: (counts, p, m) to a number of order 1, such as `kl_per_block` or `rate_per_block(binning)`.
        detector: A `river.drift` detector that has seen nothing yet.

    Examples:
        >>> from river.drift import ADWIN
        >>> rng = np.random.default_rng(1)
        >>> p = np.array([0.5, 0.3, 0.2])
        >>> detector = OnStatistic(kl_per_block, ADWIN())
        >>> for block in range(400):
        ...     truth = p if block < 200 else [0.45, 0.3, 0.25]
        ...     detector.update(rng.multinomial(1000, truth), Expected.known(p))
        ...     if detector.drift_detected:
        ...         print(f"drift in block {block}")
        ...         break
        drift in block 223
    """

    words = ""

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

    def update(self, counts: NDArray[Any], expected: Expected, phi: float = 1.0) -> None:
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

    The ``*_rate`` detectors of river take the index `cut` too.

    Raises:
        StatsError: on names and settings that do not exist and on settings out of range.
    """
    if name not in DETECTORS:
        raise StatsError(f"detector {name!r}: expected one of {', '.join(DETECTORS)}")
    try:
        return DETECTORS[name](reference, **settings)
    except (TypeError, ValueError) as error:
        raise StatsError(f"detector {name!r}: {error}") from error


def _river(name: str) -> Callable[..., Any]:
    """Loaded when it is used: with all that it brings, river takes half of the daemon's memory."""

    def make(**settings: Any) -> Any:
        from river import drift

        return getattr(drift, name)(**settings)

    return make


def _on_kl(river: Callable[..., Any]) -> Callable[..., Detector]:
    return lambda reference, **settings: OnStatistic(kl_per_block, river(**settings))


def _on_rate(river: Callable[..., Any]) -> Callable[..., Detector]:
    return lambda reference, cut=0, **settings: OnStatistic(rate_per_block(reference.binning, cut), river(**settings))


_RIVER: dict[str, Callable[..., Any]] = {
    "adwin": _river("ADWIN"),
    "page_hinkley": _river("PageHinkley"),
    "kswin": partial(_river("KSWIN"), seed=0),
}
DETECTORS: dict[str, Callable[..., Detector]] = {
    "e_mixture": lambda ref, **settings: EMixture(ref.binning, ref.p, ref.cell_p, **settings),
    "e_rate": lambda ref, **settings: RateDetector(ref.binning, ref.p, **settings),
    "e_cusum": lambda ref, **settings: ECusum(ref.binning, ref.p, **settings),
    "glr": lambda ref, **settings: Glr(**settings),
    **{f"{name}_kl": _on_kl(river) for name, river in _RIVER.items()},
    **{f"{name}_rate": _on_rate(river) for name, river in _RIVER.items()},
}
