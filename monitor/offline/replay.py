"""Archived lumi sections through the counting, the detectors and the policy of the daemon."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from firmware.wire import Batch, Header
from monitor.archive import histograms
from monitor.archive.columns import codes_of
from monitor.archive.errors import ArchiveError, FileFault
from monitor.archive.formats import PLAIN
from monitor.archive.samples import Rows, rows
from monitor.offline.result import ReplayedLs, ReplayResult
from monitor.stats.arrays import IntArray
from monitor.stats.count.rebinning import on_edges
from monitor.stats.count.reference import Reference
from monitor.stats.detect.detectors import Detector
from monitor.stats.errors import StatsError
from monitor.terms import Hold
from monitor.watch.detectors import make_detectors
from monitor.watch.policy import Policy
from monitor.watch.report import LsReport
from monitor.watch.settings import DetectSettings, IngestSettings
from monitor.watch.stream import StreamMonitor

BATCH_SCORES = 1 << 16
"""Scores that are counted at once."""
WHOLE = 1 << 32
"""Run and lumi section are below this."""
NO_SCORES = np.empty(0, np.uint32)

_Message = tuple[Header, npt.NDArray[Any], IntArray | None]
"""Header, score codes, and counts (C,) in the reference's cells in place of these."""


@dataclass(frozen=True)
class Columns:
    """The names in the archive; a run that is not there is 1, a pile-up that is not there is unknown."""

    scores: str = PLAIN
    run: str = "run"
    ls: str = "ls"
    pileup: str = "pileup"


def unheard(seen: ReplayedLs) -> None:
    """Nobody is told."""


@dataclass(frozen=True, eq=False)
class StreamSetup:
    """A stream as the daemon is configured for it."""

    reference: Reference
    name: str = "NAME"
    detect: DetectSettings = field(default_factory=DetectSettings)
    hold: Hold = "distribution"
    ingest: IngestSettings = field(default_factory=IngestSettings)
    streams: int = 1

    def detectors(self) -> dict[str, Detector]:
        """The configured detectors, as new."""
        return make_detectors(self.detect, self.reference, self.streams)

    def on_archive(self, files: Sequence[str]) -> StreamSetup:
        """With what the histograms in `files` leave of the reference's binning; all of it for events."""
        if not histograms.holds_histograms(files[0]):
            return self
        try:
            return replace(self, reference=on_edges(self.reference, histograms.codes_for(files, self.reference)))
        except FileFault:
            raise
        except (ArchiveError, StatsError) as error:
            raise FileFault(f"{files[0]}: {error}") from None


def replay(
    files: Sequence[str],
    setup: StreamSetup,
    detectors: Mapping[str, Detector],
    columns: Columns = Columns(),
    told: Callable[[ReplayedLs], None] = unheard,
) -> ReplayResult:
    """Run archived scores or histograms through a `StreamMonitor` and a `Policy`.

    Files hold one score a row, or one histogram a lumi section; see `StreamSetup.on_archive`.

    Raises:
        ArchiveError: naming file, column and row, on files that cannot be replayed.
    """
    reference = setup.reference
    result = ReplayResult()
    policy = Policy(setup.detect, setup.hold, reference)

    def close(report: LsReport) -> None:
        seen = ReplayedLs.of(report, policy.assess(report))
        result.lumi_sections.append(seen)
        told(seen)

    monitor = StreamMonitor(
        "replay",
        reference,
        reference.binning.cuts,
        detectors,
        setup.ingest,
        close,
        sample=lambda batch: None,
        pileup_error=setup.detect.pileup_error,
    )
    began = time.monotonic()
    messages = _of_histograms if histograms.holds_histograms(files[0]) else _of_events
    header: Header | None = None
    for seq, (unnumbered, codes, counts) in enumerate(messages(files, columns, reference)):
        header = replace(unnumbered, seq=seq)
        monitor.add(Batch(header, codes), counts)
    if header is not None:  # a lumi section closes when its source goes on: after the last one it has to say so
        monitor.add(Batch(replace(header, kind="end", seq=header.seq + 1, n=0), NO_SCORES))
    result.seconds = time.monotonic() - began
    result.skipped = {str(cause): n for cause, n in monitor.skipped.items()}
    return result


def _of_events(files: Sequence[str], columns: Columns, reference: Reference) -> Iterator[_Message]:
    for part in rows(files, [columns.scores, columns.ls], [columns.run, columns.pileup]):
        floats = part.columns[columns.scores].dtype.kind == "f"
        codes = codes_of(part, columns.scores, reference.binning.bits, reference.lsb if floats else 1.0)
        for (run, ls), chosen in moments(part, columns):
            pileup = _pileup(part, columns, chosen)
            for start in range(0, len(chosen), BATCH_SCORES):
                some = np.ascontiguousarray(codes[chosen[start : start + BATCH_SCORES]], np.uint32)
                yield _header(run=run, ls=ls, n=len(some), pileup=pileup), some, None


def _of_histograms(files: Sequence[str], columns: Columns, reference: Reference) -> Iterator[_Message]:
    starts = np.searchsorted(histograms.codes_for(files, reference), reference.cells.edges[:-1])
    for part in histograms.histograms(files, [columns.ls], [columns.run, columns.pileup]):
        counts = np.add.reduceat(part.columns[histograms.COUNTS], starts, axis=1)
        for (run, ls), chosen in moments(part, columns):
            total = counts[chosen].sum(axis=0)
            if total.any():
                yield _header(run=run, ls=ls, n=0, pileup=_pileup(part, columns, chosen)), NO_SCORES, total


def _pileup(part: Rows, columns: Columns, chosen: npt.NDArray[np.intp]) -> float | None:
    """The mean of the chosen rows, None where it is unknown (NaN counts as that)."""
    if columns.pileup not in part.columns:
        return None
    mean = float(part.columns[columns.pileup][chosen].mean())
    return mean if mean >= 0 else None


def _header(**own: Any) -> Header:
    given: dict[str, Any] = {
        "kind": "batch", "stream": "replay", "source": "archive", "seq": 0, "orbit": 0, "dtype": "u4",
        "epoch": 0, "generation": 0, "t_ns": 0, "bx_class": "colliding",
    }  # fmt: skip
    return Header(**given | own)


def moments(part: Rows, columns: Columns) -> Iterator[tuple[tuple[int, int], npt.NDArray[np.intp]]]:
    """(run, lumi section) and the rows that belong to it, in order of time."""
    ls = _whole(part, columns.ls)
    run = _whole(part, columns.run) if columns.run in part.columns else np.ones_like(ls)
    order = np.lexsort((ls, run))
    changes = np.flatnonzero(np.diff(run[order]) | np.diff(ls[order])) + 1
    for chosen in np.split(order, changes):
        if len(chosen):
            yield (int(run[chosen[0]]), int(ls[chosen[0]])), chosen


def _whole(part: Rows, name: str) -> npt.NDArray[np.int64]:
    values = part.columns[name]
    with np.errstate(invalid="ignore"):
        part.require(
            name, (values >= 0) & (values < WHOLE) & (values == np.rint(values)), "number of a run or lumi section"
        )
    return values.astype(np.int64)
