"""The reference: the score distribution at training time, and how well it is known."""

import io
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitor.stats.binning import TAILS, Binning, FloatArray, IntArray, StatsError, frozen, quantile_edges
from monitor.stats.tally import Chunk, Tally

FORMAT = 1


class Expected(NamedTuple):
    """Score distribution p (B,) to expect, known as well as `m` events make it."""

    p: FloatArray
    m: float


@dataclass(frozen=True, eq=False)
class Reference:
    """Binned score distribution, in slices of pile-up where that is known.

    Probabilities are p_b = (c_b + ½) / (M + B/2) (Jeffreys), hence strictly positive.

    Parameters
    ----------
    slice_counts
        (S, B) events per pile-up slice and bin; S = 1 without slices.
    target_rates
        (n_cuts,) fraction of crossings to be accepted by each cut.
    lsb
        Score of one code.
    pileup_edges, pileup_means
        (S + 1,) edges of the slices and (S,) mean pile-up in them, or None.
    feature_edges, feature_counts
        Per input feature: up to 65 integer edges, and the events between them. The first and the
        last bin also stand for what is below and above.
    events, event_inclusion
        (k, width) int16 inputs of some of the events, and the probability (k,) with which each was
        kept: weight by its inverse.
    event_pileup
        (k,) pile-up of these events, or None.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> chunks = [(rng.geometric(0.02, 50_000), None, pileup) for pileup in (20.0, 40.0)]
    >>> reference = Reference.build(chunks, cuts=[300], bits=12, pileup_edges=[0, 30, 60])
    >>> reference.m, len(reference.slice_counts), round(reference.expected(30.0).m)
    (100000.0, 2, 100000)
    """

    binning: Binning
    slice_counts: IntArray
    target_rates: FloatArray
    lsb: float = 1.0
    pileup_edges: FloatArray | None = None
    pileup_means: FloatArray | None = None
    feature_edges: tuple[IntArray, ...] = ()
    feature_counts: tuple[IntArray, ...] = ()
    events: NDArray[np.int16] = field(default_factory=lambda: np.zeros((0, 0), np.int16))
    event_inclusion: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    event_pileup: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        for name, dtype in _DTYPES.items():
            if getattr(self, name) is not None:
                object.__setattr__(self, name, frozen(getattr(self, name), dtype))
        for name in ("feature_edges", "feature_counts"):
            object.__setattr__(self, name, tuple(frozen(array, np.int64) for array in getattr(self, name)))
        n_cuts, n_bins = len(self.binning.cuts), self.binning.n_bins
        counts, rates, inclusion = self.slice_counts, self.target_rates, self.event_inclusion
        _expect(
            counts.ndim == 2 and counts.shape[1] == n_bins and len(counts) > 0 and (counts >= 0).all(),
            f"slice_counts of shape {counts.shape}: expected counts >= 0, (slices, {n_bins})",
        )
        m = counts.sum(axis=1)
        _expect((m >= n_bins).all(), f"{m.tolist()} events per slice: expected at least {n_bins} in each")
        _expect(
            rates.shape == (n_cuts,) and ((rates > 0) & (rates < 1)).all(),
            f"target rates {rates.tolist()}: expected one fraction for each of {n_cuts} cuts",
        )
        _expect(0 < self.lsb < np.inf, f"lsb {self.lsb}: expected a positive number")
        _expect(
            self.events.ndim == 2 and inclusion.shape == (len(self.events),),
            f"events of shape {self.events.shape}: expected (k, width) with k inclusion probabilities",
        )
        _expect(((inclusion > 0) & (inclusion <= 1)).all(), "expected inclusion probabilities in (0, 1]")
        _expect(
            self.event_pileup is None
            or (self.event_pileup.shape == inclusion.shape and bool(np.isfinite(self.event_pileup).all())),
            f"expected the pile-up of each of {len(self.events)} events",
        )
        self._check_slices(len(counts))
        features = zip(self.feature_edges, self.feature_counts, strict=False)
        _expect(
            len(self.feature_edges) == len(self.feature_counts)
            and all(len(e) == len(n) + 1 and (np.diff(e) > 0).all() and (n >= 0).all() for e, n in features),
            "feature histograms: expected increasing edges, one more than counts >= 0",
        )

    def _check_slices(self, n: int) -> None:
        edges, means = self.pileup_edges, self.pileup_means
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

    def without_events(self) -> "Reference":
        """The same distributions, without the stored events."""
        return replace(self, events=self.events[:0], event_inclusion=self.event_inclusion[:0], event_pileup=None)

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
    def slice_p(self) -> FloatArray:
        """(S, B) probabilities at the mean pile-up of each slice."""
        return _jeffreys(self.slice_counts)

    def rates_of(self, p: FloatArray) -> FloatArray:
        """(n_cuts,) fractions at and above the cuts for probabilities (..., B)."""
        rates: FloatArray = self.binning.above(p)
        return rates

    def expected(self, pileup: float | None = None) -> Expected:
        """The distribution at a pile-up, between slices a and b by ln p, linear in pile-up::

            p ∝ p_a^(1−w) p_b^w,   1/m = (1−w)²/M_a + w²/M_b

        so that a bin that rises exponentially with pile-up is met exactly. Outside of the slices'
        mean pile-up the nearest slice holds. m counts the events behind p; it does not cover
        a p that curves otherwise between slices: tolerate that by δ.
        Without slices, or without a pile-up, it is the distribution of all events.
        """
        if pileup is None or self.pileup_means is None:
            return Expected(self.p, self.m)
        if not np.isfinite(pileup):
            raise StatsError(f"pile-up {pileup}: expected a finite number, or None where it is unknown")
        place = float(np.interp(pileup, self.pileup_means, np.arange(len(self.pileup_means))))
        a = int(place)
        b, w = min(a + 1, len(self.pileup_means) - 1), place - a
        p = self.slice_p[a] ** (1 - w) * self.slice_p[b] ** w
        m_a, m_b = self.slice_counts[[a, b]].sum(axis=1).tolist()
        return Expected(frozen(p / p.sum(), np.float64), 1 / ((1 - w) ** 2 / m_a + w**2 / m_b))

    @classmethod
    def build(
        cls,
        chunks: Iterable[Chunk],
        cuts: Sequence[int] | None = None,
        *,
        target_rates: Sequence[float] | None = None,
        bits: int = 18,
        lsb: float = 1.0,
        pileup_edges: Sequence[float] | None = None,
        bulk: int = 24,
        tails: Sequence[float] = TAILS,
        max_events: int = 200_000,
        seed: int = 0,
    ) -> "Reference":
        """Reference from one pass over a sample of any size.

        Memory holds a histogram of all 2^bits codes per slice, one of all 2^16 values per feature
        and up to `max_events` events, a quarter of them from the upper 1 % of the scores.

        Parameters
        ----------
        chunks
            (codes (n,), events (n, width) or None, pile-up (n,) or of all or None). Pile-up outside
            of the edges counts into the nearest slice.
        cuts, target_rates
            Target rates are the reference's own at `cuts` if they are not given, and cuts the codes
            that come nearest to `target_rates`.

        Raises StatsError as `Binning.from_histogram` does, and on chunks whose parts differ in
        length, kind or width, on pile-up that is missing or no number, and on slices with fewer
        events than bins.
        """
        tally = Tally(bits, pileup_edges, max_events, seed)
        for chunk in chunks:
            tally.add(*chunk)
        histogram = tally.histogram.sum(axis=0)
        if cuts is None:
            shares = 1 - np.asarray(target_rates or [], dtype=np.float64)
            cuts = quantile_edges(histogram, shares).tolist()
        binning = Binning.from_histogram(histogram, cuts, bulk, tails)
        if target_rates is None:
            target_rates = (binning.above(binning.rebin(histogram)) / histogram.sum()).tolist()
        feature_edges, feature_counts = tally.features()
        events, inclusion, pileup = tally.sample()
        return cls(
            binning=binning,
            slice_counts=binning.rebin(tally.histogram),
            target_rates=np.asarray(target_rates),
            lsb=lsb,
            pileup_edges=None if pileup_edges is None else np.asarray(pileup_edges),
            pileup_means=None if pileup_edges is None else tally.pileup_means(),
            feature_edges=feature_edges,
            feature_counts=feature_counts,
            events=events,
            event_inclusion=inclusion,
            event_pileup=None if pileup_edges is None else pileup,
        )

    def to_bytes(self) -> bytes:
        """The same bytes for the same reference: an npz file without pickled objects."""
        arrays = {name: getattr(self, name) for name in _DTYPES if getattr(self, name) is not None}
        arrays |= self.binning.to_arrays()
        for name in ("feature_edges", "feature_counts"):
            arrays[name] = np.concatenate([np.zeros(0, np.int64), *getattr(self, name)])
        arrays["feature_bins"] = np.array([len(counts) for counts in self.feature_counts], dtype=np.int64)
        file = io.BytesIO()
        np.savez_compressed(file, format=FORMAT, lsb=self.lsb, **arrays)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Reference":
        """Raises StatsError on anything that `to_bytes` did not write."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                arrays: dict[str, NDArray[Any]] = dict(file)
            if arrays["format"] != FORMAT:
                raise StatsError(f"format {arrays['format']}: this version reads format {FORMAT}")
            bins = arrays["feature_bins"]
            return cls(
                binning=Binning.from_arrays(arrays),
                lsb=float(arrays["lsb"]),
                feature_edges=_split(arrays["feature_edges"], bins + 1),
                feature_counts=_split(arrays["feature_counts"], bins),
                **{name: arrays[name] for name in _DTYPES if name in arrays},
            )
        except _DAMAGE as error:
            raise StatsError(f"not a reference, or a damaged one ({error}): build it again") from error


_DTYPES: dict[str, type] = {
    "slice_counts": np.int64,
    "target_rates": np.float64,
    "pileup_edges": np.float64,
    "pileup_means": np.float64,
    "events": np.int16,
    "event_inclusion": np.float32,
    "event_pileup": np.float32,
}
_DAMAGE = (KeyError, TypeError, ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


def _expect(holds: Any, message: str) -> None:
    if not holds:
        raise StatsError(f"reference: {message}")


def _split(array: NDArray[Any], lengths: IntArray) -> tuple[NDArray[Any], ...]:
    return tuple(np.split(array, np.cumsum(lengths)[:-1])) if len(lengths) else ()


def _jeffreys(counts: IntArray) -> FloatArray:
    return frozen((counts + 0.5) / (counts + 0.5).sum(axis=-1, keepdims=True), np.float64)
