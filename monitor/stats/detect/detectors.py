"""Detectors of drift on block counts, with one interface, by their names in the configuration."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from numpy.typing import NDArray

from monitor.stats.arrays import FloatArray
from monitor.stats.count.binning import Binning
from monitor.stats.count.expected import Expected
from monitor.stats.detect.cusum import ECusum
from monitor.stats.detect.glr import Glr
from monitor.stats.detect.mixture import EMixture
from monitor.stats.detect.on_statistic import OnStatistic, kl_per_block, rate_per_block
from monitor.stats.detect.rate import RateDetector
from monitor.stats.errors import StatsError

COUNTING = ("clock", "max_buckets", "min_window_length", "grace_period", "window_size", "stat_size")
"""Settings of river's detectors that count something."""
KSWIN_WINDOW, KSWIN_PART = 100, 30
"""Values in a window of KSWIN, and in the newest part of it that is compared with others, unless told otherwise."""


class Detector(Protocol):
    """`update` with the counts (C,) of one block on the reference's cells, and what to expect of it.

    `phi` is the overdispersion of the blocks up to then, see `monitor.stats.compare.dispersion`.
    """

    @property
    def promises_run_length(self) -> bool:
        """Whether its false alarms come at least its target run length apart, however the reference was drawn."""
        ...

    @property
    def drift_detected(self) -> bool:
        """Whether it is in alarm."""
        ...

    @property
    def statistic(self) -> float:
        """What it has seen, as one number."""
        ...

    @property
    def words(self) -> str:
        """What it has seen, nothing where it cannot tell."""
        ...

    def update(self, counts: NDArray[Any], expected: Expected, phi: float = 1.0) -> None:
        """Take in one block."""
        ...

    def reset(self) -> None:
        """Forget what was seen."""
        ...


class Binned(Protocol):
    """What a detector is made for: a binning, its p (B,) and that of its cells (C,), such as a `Reference`."""

    @property
    def binning(self) -> Binning:
        """The bins, which end on the cuts."""
        ...

    @property
    def p(self) -> FloatArray:
        """(B,) probabilities of the bins."""
        ...

    @property
    def cell_p(self) -> FloatArray:
        """(C,) probabilities of the cells."""
        ...


@dataclass(frozen=True)
class Kind:
    """A detector that a configuration can name: how it is made for a `Binned`, and what it promises."""

    make: Callable[..., Detector]
    promises_run_length: bool


def make_detector(name: str, reference: Binned, **settings: Any) -> Detector:
    """A detector by its name in `DETECTORS`; `settings` are those of its class.

    The ``*_rate`` detectors of river take the index `cut` too.

    Raises:
        StatsError: on names and settings that do not exist and on settings out of range.
    """
    if name not in DETECTORS:
        raise StatsError(f"detector {name!r}: expected one of {', '.join(DETECTORS)}")
    try:
        return DETECTORS[name].make(reference, **settings)
    except (TypeError, ValueError) as error:
        raise StatsError(f"detector {name!r}: {error}") from error


def promises_run_length(name: str) -> bool:
    """Whether a detector of this name promises its run length; False for a name that no detector has."""
    return name in DETECTORS and DETECTORS[name].promises_run_length


def _river(name: str) -> Callable[..., Any]:
    """Loaded when it is used: with all that it brings, river takes half of the daemon's memory."""

    def make(**settings: Any) -> Any:
        from river import drift

        return getattr(drift, name)(**_counts_whole(settings))

    return make


def _counts_whole(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that count something as the integers that river expects: a configuration holds floats.

    Out of range, river fails only at a later block, and not always with an exception that can be caught.
    """
    counts = {name: settings[name] for name in COUNTING if name in settings}
    for name, value in counts.items():
        if not value >= 1 or value != int(value):
            raise ValueError(f"{name} {value}: expected a whole number of at least 1")
    if "window_size" in counts or "stat_size" in counts:
        window, part = counts.get("window_size", KSWIN_WINDOW), counts.get("stat_size", KSWIN_PART)
        if window < 2 * part:
            raise ValueError(f"window_size {window:g}, stat_size {part:g}: expected the window to hold two such parts")
    return settings | {name: int(value) for name, value in counts.items()}


def _on_kl(river: Callable[..., Any]) -> Kind:
    return Kind(
        lambda reference, **settings: OnStatistic(kl_per_block, river(**settings)), OnStatistic.promises_run_length
    )


def _on_rate(river: Callable[..., Any]) -> Kind:
    def make(reference: Binned, cut: float = 0, **settings: Any) -> Detector:
        return OnStatistic(rate_per_block(reference.binning, cut), river(**settings))

    return Kind(make, OnStatistic.promises_run_length)


_RIVER: dict[str, Callable[..., Any]] = {
    "adwin": _river("ADWIN"),
    "page_hinkley": _river("PageHinkley"),
    "kswin": partial(_river("KSWIN"), seed=0),
}
DETECTORS: dict[str, Kind] = {
    "e_mixture": Kind(
        lambda ref, **settings: EMixture(ref.binning, ref.p, ref.cell_p, **settings), EMixture.promises_run_length
    ),
    "e_rate": Kind(
        lambda ref, **settings: RateDetector(ref.binning, ref.p, **settings), RateDetector.promises_run_length
    ),
    "e_cusum": Kind(lambda ref, **settings: ECusum(ref.binning, ref.p, **settings), ECusum.promises_run_length),
    "glr": Kind(lambda ref, **settings: Glr(**settings), Glr.promises_run_length),
    **{f"{name}_kl": _on_kl(river) for name, river in _RIVER.items()},
    **{f"{name}_rate": _on_rate(river) for name, river in _RIVER.items()},
}
"""By the names that a configuration takes."""
