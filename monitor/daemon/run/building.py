"""A stream at work, put together from its parts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from prometheus_client import Histogram

from firmware.datapath.validation import Validation
from monitor.config import StreamSettings
from monitor.daemon.ingest.receiver import Receiver
from monitor.daemon.run.boards import StreamBoards
from monitor.daemon.run.collected import Collected
from monitor.daemon.run.fitter import Fitter, Worker
from monitor.daemon.run.loaded import LoadedStream
from monitor.daemon.run.parts import Listener, Parts
from monitor.daemon.run.payloads import Payloads
from monitor.daemon.run.pusher import Pusher
from monitor.daemon.run.runner import Runner
from monitor.daemon.run.steerer import Steerer
from monitor.loop.states import Phase
from monitor.stats.detect.detectors import Detector, make_detector
from monitor.store.ledger import Ledger
from monitor.watch.detectors import detector_settings, make_detectors
from monitor.watch.report import LsReport
from monitor.watch.settings import IngestSettings
from monitor.watch.stream import StreamMonitor


class StreamAtWork:
    """One stream: the monitor counts in the receiver thread, the runner decides in the event loop's.

    Args:
        streams: of the daemon; they share the run length that the detectors promise.
        cache: where compiled datapaths are kept.
        seconds: is told how long fits take.
    """

    def __init__(
        self,
        loaded: LoadedStream,
        ingest: IngestSettings,
        streams: int,
        boards: StreamBoards,
        worker: Worker,
        ledger: Ledger,
        cache: Path,
        seconds: Histogram,
        listener: Listener,
    ) -> None:
        settings, package = loaded.settings, loaded.package

        def validation(require_playback: bool) -> Validation:
            return Validation(package.model, package.golden_events, cache, require_playback=require_playback)

        def deliver(report: LsReport) -> None:
            self.runner.deliver(report)

        def frozen() -> bool:
            return self.runner.state.phase is Phase.FROZEN

        collected = Collected(loaded)
        payloads = Payloads(loaded.name, package, ledger)
        steerer = Steerer(loaded) if settings.hold == "rate" else None
        self.boards = boards
        self._streams = streams
        self.monitor = StreamMonitor(
            loaded.name,
            loaded.reference,
            [int(cut) for cut in package.nominal.raw("cuts")],
            make_detectors(settings.detect, loaded.reference, streams),
            ingest,
            close=deliver,
            sample=collected.keep,
            pileup_error=settings.detect.pileup_error,
        )
        tolerance = settings.detect.rate_tolerance
        self.runner = Runner(
            loaded,
            Parts(
                monitor=self.monitor,
                record=ledger,
                payloads=payloads,
                collected=collected,
                fitter=Fitter(loaded, worker, collected, payloads, steerer, ledger, cache, seconds),
                pusher=Pusher(loaded.name, validation, boards, ledger, settings.push, tolerance, frozen),
                steerer=steerer,
            ),
            listener,
        )

    def detectors_for(self, settings: StreamSettings) -> dict[str, Detector]:
        """Those of other settings: the running ones where nothing changes, new ones elsewhere.

        Raises:
            StatsError: an unknown detector, or settings it does not take.
        """
        runner = self.runner
        old, new = (detector_settings(each.detect, self._streams) for each in (runner.settings, settings))
        return {
            name: self.monitor.detectors[name]
            if old.get(name) == wanted
            else make_detector(name, runner.loaded.reference, **wanted)
            for name, wanted in new.items()
        }

    def use(self, settings: StreamSettings, detectors: Mapping[str, Detector], receiver: Receiver) -> None:
        """Go by other settings from now on, as far as they may change in a running daemon."""
        pileup_error = settings.detect.pileup_error
        receiver.between_messages(lambda: self.monitor.use(detectors, pileup_error))
        self.runner.use(settings)
