"""The reference: the score distribution at training time, and how well it is known."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.stats.arrays import FloatArray, IntArray, frozen
from monitor.stats.count.binning import Binning
from monitor.stats.count.expected import Expected
from monitor.stats.errors import StatsError

FORMAT = 2
PILEUPS_KEPT = 64
"""Pile-ups of which the expectation is remembered."""
EXTRAPOLATED = 0.5
"""Beyond the outermost mean pile-ups, p goes on as between the last two for this part of their distance."""
PILEUP_SIGMAS = 2.0
"""Standard deviations by which a measured pile-up may be off without being called a drift."""


@dataclass(frozen=True, eq=False)
class Reference:
    """Binned score distribution, in slices of pile-up where that is known.

    Probabilities are p_b = (c_b + ½) / (M + B/2) (Jeffreys), hence strictly positive.

    Args:
        cell_counts: (S, C) events per pile-up slice and cell; S = 1 without slices.
        target_rates: (n_cuts,) fraction of crossings to be accepted by each cut.
        lsb: Score of one code.
        pileup_edges, pileup_means: (S + 1,) edges of the slices and (S,) mean pile-up in them, or None.
        feature_edges, feature_counts: Per input feature: up to 65 integer edges, and the events between them. The first
            and the last bin also stand for what is below and above.
        events, event_inclusion: (k, width) int16 inputs of some of the events, and the probability (k,) with which each
            was kept: weight by its inverse.
        event_pileup: (k,) pile-up of these events, or None.
        cells: A finer binning that divides the bins, for what only shows there; the bins themselves if None.

    Examples:
        >>> from monitor.stats.count.building import reference_of_sample
        >>> rng = np.random.default_rng(1)
        >>> chunks = [(rng.geometric(0.02, 50_000), None, pileup) for pileup in (20.0, 40.0)]
        >>> reference = reference_of_sample(chunks, cuts=[300], bits=12, pileup_edges=[0, 30, 60])
        >>> reference.m, len(reference.slice_counts), round(reference.expected(30.0).m)
        (100000.0, 2, 100000)
    """

    binning: Binning
    cell_counts: IntArray
    target_rates: FloatArray
    lsb: float = 1.0
    pileup_edges: FloatArray | None = None
    pileup_means: FloatArray | None = None
    feature_edges: tuple[IntArray, ...] = ()
    feature_counts: tuple[IntArray, ...] = ()
    events: NDArray[np.int16] = field(default_factory=lambda: np.zeros((0, 0), np.int16))
    event_inclusion: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    event_pileup: NDArray[np.float32] | None = None
    cells: Binning = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.cells is None:
            object.__setattr__(self, "cells", self.binning)
        for name, dtype in _DTYPES.items():
            if getattr(self, name) is not None:
                object.__setattr__(self, name, frozen(getattr(self, name), dtype))
        for name in ("feature_edges", "feature_counts"):
            object.__setattr__(self, name, tuple(frozen(array, np.int64) for array in getattr(self, name)))
        _check(self)

    def without_events(self) -> Reference:
        """The same distributions, without the stored events."""
        return replace(self, events=self.events[:0], event_inclusion=self.event_inclusion[:0], event_pileup=None)

    @cached_property
    def first(self) -> IntArray:
        """(B,) the first cell of each bin."""
        return frozen(np.searchsorted(self.cells.edges, self.binning.edges[:-1]), np.int64)

    @cached_property
    def slice_counts(self) -> IntArray:
        """(S, B) events per pile-up slice and bin."""
        return frozen(np.add.reduceat(self.cell_counts, self.first, axis=1), np.int64)

    @cached_property
    def counts(self) -> IntArray:
        """(B,) events of all slices."""
        return frozen(self.slice_counts.sum(axis=0), np.int64)

    @property
    def m(self) -> float:
        """M, the number of events."""
        return float(self.counts.sum())

    @cached_property
    def p(self) -> FloatArray:
        """(B,) probabilities, whatever the pile-up."""
        return _jeffreys(self.counts)

    @cached_property
    def cell_p(self) -> FloatArray:
        """(C,) probabilities, whatever the pile-up; those of a bin's cells add up to the bin's."""
        return self._divide(self.p, self.cell_counts.sum(axis=0))

    @cached_property
    def slice_p(self) -> FloatArray:
        """(S, B) probabilities at the mean pile-up of each slice."""
        return _jeffreys(self.slice_counts)

    def rates_of(self, p: FloatArray) -> FloatArray:
        """(n_cuts,) fractions at and above the cuts for probabilities (..., B)."""
        rates: FloatArray = self.binning.above(p)
        return rates

    def expected(self, pileup: float | None = None, error: float = 0.0) -> Expected:
        """The distribution at a pile-up.

        Between the mean pile-ups of two slices a and b ln p is linear in pile-up::

            p ∝ p_a^(1−w) p_b^w,   1/m = (1−w)²/M_a + w²/M_b

        so that a bin that rises exponentially with pile-up is met exactly. It goes on like that to the
        outer edges, at most half a slice further, and stays as it is beyond (see `covers`). m counts the
        events behind p; it does not cover a p that curves otherwise between slices: tolerate that by δ.
        Without slices, or without a pile-up, it is the distribution of all events.

        Args:
            error: Relative standard deviation of the pile-up: `nearby` holds the distributions at
                pile-up × (1 ± `PILEUP_SIGMAS` error).
        """
        return self._expected(pileup, error)

    @cached_property
    def _expected(self) -> Callable[[float | None, float], Expected]:
        """One object for one pile-up: what detectors make of it stays good."""
        # On the instance, not the method: a cache of the class would keep every reference alive.
        return lru_cache(PILEUPS_KEPT)(self._expect)

    def _expect(self, pileup: float | None, error: float) -> Expected:
        if pileup is None or self.pileup_means is None:
            return Expected(self.p, self.m, self.cell_p, self.first, self.cell_p[None][:0])
        if not np.isfinite(pileup):
            raise StatsError(f"pile-up {pileup}: expected a finite number, or None where it is unknown")
        p, cells, m = self._between(pileup)
        off = PILEUP_SIGMAS * error
        around = [self._between(pileup * (1 + sign * off))[1] for sign in (-1, 1)] if error else []
        return Expected(p, m, cells, self.first, np.array(around).reshape(-1, len(cells)))

    def slice_of(self, pileup: float | None) -> int | None:
        """The number of the pile-up slice, 0 without slices; None for a pile-up that is unknown."""
        if pileup is None or self.pileup_edges is None:
            return None if pileup is None else 0
        return int(np.searchsorted(self.pileup_edges[1:-1], pileup, side="right"))

    def covers(self, pileup: float | None) -> bool:
        """Whether it knows what to expect there: between the outer edges, or without slices anywhere."""
        edges = self.pileup_edges
        return pileup is None or edges is None or bool(edges[0] <= pileup <= edges[-1])

    def _between(self, pileup: float) -> tuple[FloatArray, FloatArray, float]:
        """Probabilities p (B,), those of the cells (C,), and m."""
        assert self.pileup_means is not None
        assert self.pileup_edges is not None
        means = self.pileup_means
        within = min(max(pileup, float(self.pileup_edges[0])), float(self.pileup_edges[-1]))
        a = max(min(int(np.searchsorted(means, within)) - 1, len(means) - 2), 0)
        b = min(a + 1, len(means) - 1)
        w = min(max((within - means[a]) / (means[b] - means[a]), -EXTRAPOLATED), 1 + EXTRAPOLATED) if b > a else 0.0
        p = self.slice_p[a] ** (1 - w) * self.slice_p[b] ** w
        p = frozen(p / p.sum(), np.float64)
        m_a, m_b = self.slice_counts[[a, b]].sum(axis=1).tolist()
        m = 1 / ((1 - w) ** 2 / m_a + w**2 / m_b)
        share = min(max(w, 0.0), 1.0)
        events = m * ((1 - share) * self.cell_counts[a] / m_a + share * self.cell_counts[b] / m_b)
        return p, self._divide(p, events), m

    def _divide(self, p: FloatArray, events: NDArray[Any]) -> FloatArray:
        """(C,) probabilities of the cells: each bin's p (B,) shared out like its events (C,), and ½ each."""
        sizes = np.diff(np.append(self.first, len(events)))
        within = np.add.reduceat(events + 0.5, self.first)
        return frozen((events + 0.5) * np.repeat(p / within, sizes), np.float64)

    def to_bytes(self) -> bytes:
        """The same bytes for the same reference: an npz file without pickled objects."""
        arrays = {name: getattr(self, name) for name in _DTYPES if getattr(self, name) is not None}
        arrays |= self.binning.to_arrays()
        for name in ("feature_edges", "feature_counts"):
            arrays[name] = np.concatenate([np.zeros(0, np.int64), *getattr(self, name)])
        arrays["cell_edges"] = self.cells.edges
        arrays["feature_bins"] = np.array([len(counts) for counts in self.feature_counts], dtype=np.int64)
        file = io.BytesIO()
        np.savez_compressed(file, format=FORMAT, lsb=self.lsb, **arrays)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Reference:
        """Raises StatsError on anything that `to_bytes` did not write."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                arrays: dict[str, NDArray[Any]] = dict(file)
            if arrays["format"] != FORMAT:
                raise StatsError(f"format {arrays['format']}: this version reads format {FORMAT}")
            bins = arrays["feature_bins"]
            return cls(
                binning=Binning.from_arrays(arrays),
                cells=Binning(arrays["cell_edges"], tuple(arrays["cuts"].tolist())),
                lsb=float(arrays["lsb"]),
                feature_edges=_split(arrays["feature_edges"], bins + 1),
                feature_counts=_split(arrays["feature_counts"], bins),
                **{name: arrays[name] for name in _DTYPES if name in arrays},
            )
        except _DAMAGE as error:
            raise StatsError(f"not a reference, or a damaged one ({error}): build it again") from error


_DTYPES: dict[str, type] = {
    "cell_counts": np.int64,
    "target_rates": np.float64,
    "pileup_edges": np.float64,
    "pileup_means": np.float64,
    "events": np.int16,
    "event_inclusion": np.float32,
    "event_pileup": np.float32,
}
_DAMAGE = (KeyError, TypeError, ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


def _check(reference: Reference) -> None:
    """Raise a StatsError that names the first part that does not fit the others."""
    n_cuts, n_bins, n_cells = len(reference.binning.cuts), reference.binning.n_bins, reference.cells.n_bins
    counts, rates = reference.cell_counts, reference.target_rates
    _expect(np.isin(reference.binning.edges, reference.cells.edges).all(), "expected cells that divide the bins")
    _expect(
        counts.ndim == 2 and counts.shape[1] == n_cells and len(counts) > 0 and (counts >= 0).all(),
        f"cell_counts of shape {counts.shape}: expected counts >= 0, (slices, {n_cells})",
    )
    m = counts.sum(axis=1)
    _expect((m >= n_bins).all(), f"{m.tolist()} events per slice: expected at least {n_bins} in each")
    _expect(
        rates.shape == (n_cuts,) and ((rates > 0) & (rates < 1)).all(),
        f"target rates {rates.tolist()}: expected one fraction for each of {n_cuts} cuts",
    )
    _expect(0 < reference.lsb < np.inf, f"lsb {reference.lsb}: expected a positive number")
    _check_events(reference.events, reference.event_inclusion, reference.event_pileup)
    _check_slices(len(counts), reference.pileup_edges, reference.pileup_means)
    _check_features(reference.feature_edges, reference.feature_counts)


def _check_events(
    events: NDArray[np.int16], inclusion: NDArray[np.float32], pileup: NDArray[np.float32] | None
) -> None:
    _expect(
        events.ndim == 2 and inclusion.shape == (len(events),),
        f"events of shape {events.shape}: expected (k, width) with k inclusion probabilities",
    )
    _expect(((inclusion > 0) & (inclusion <= 1)).all(), "expected inclusion probabilities in (0, 1]")
    _expect(
        pileup is None or (pileup.shape == inclusion.shape and bool(np.isfinite(pileup).all())),
        f"expected the pile-up of each of {len(events)} events",
    )


def _check_slices(n: int, edges: FloatArray | None, means: FloatArray | None) -> None:
    if edges is None or means is None:
        _expect(edges is means and n == 1, f"{n} slices without edges and mean pile-up of each")
        return
    _expect(
        edges.shape == (n + 1,) and means.shape == (n,) and np.isfinite([*edges, *means]).all(),
        f"pile-up edges {edges.tolist()} with means {means.tolist()}: expected {n + 1} and {n} numbers",
    )
    _expect(
        (np.diff(edges) > 0).all() and (np.diff(means) > 0).all(),
        f"pile-up edges {edges.tolist()} with means {means.tolist()}: expected increasing numbers",
    )


def _check_features(edges: tuple[IntArray, ...], counts: tuple[IntArray, ...]) -> None:
    _expect(
        len(edges) == len(counts)
        and all(
            len(e) == len(n) + 1 and (np.diff(e) > 0).all() and (n >= 0).all()
            for e, n in zip(edges, counts, strict=True)
        ),
        "feature histograms: expected increasing edges, one more than counts >= 0",
    )


def _expect(holds: Any, message: str) -> None:
    if not holds:
        raise StatsError(f"reference: {message}")


def _split(array: NDArray[Any], lengths: IntArray) -> tuple[NDArray[Any], ...]:
    return tuple(np.split(array, np.cumsum(lengths)[:-1])) if len(lengths) else ()


def _jeffreys(counts: IntArray) -> FloatArray:
    return frozen((counts + 0.5) / (counts + 0.5).sum(axis=-1, keepdims=True), np.float64)
