"""The daemon: startup, main loop, shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import structlog
from prometheus_client import CollectorRegistry, ProcessCollector

from firmware.errors import FirmwareError
from firmware.model.package import Package
from firmware.process import Remote
from monitor import logs
from monitor.config import Config, ConfigError, Grafana
from monitor.daemon.http import models, tokens, views
from monitor.daemon.http.access import Access
from monitor.daemon.http.audit import Audit, AuditError
from monitor.daemon.http.metrics import ServiceCollector, fit_seconds
from monitor.daemon.http.sse import Events, Message, Name
from monitor.daemon.ingest.receiver import Receiver
from monitor.daemon.reload import Reloads
from monitor.daemon.run.boards import StreamBoards, board_link
from monitor.daemon.run.control import StreamControl
from monitor.daemon.systemd import Notifier
from monitor.loop.loop import Tick
from monitor.stats.count.reference import Reference
from monitor.stats.errors import StatsError
from monitor.store.ledger import Ledger
from monitor.store.rows import EventRow
from monitor.watch.detectors import make_detectors
from monitor.watch.stream import LsReport
from recalib.worker import FitWorker

if TYPE_CHECKING:
    from monitor.daemon.grafana.annotations import Annotator
    from monitor.daemon.http.server import HttpServer

log = structlog.get_logger()

TICK_S = 2.0
DISARM_S = 2.5
"""How long the end waits for boards to be disarmed."""


def load_streams(config: Config) -> dict[str, tuple[Package, Reference]]:
    """The model package and reference of each stream.

    Raises:
        ConfigError: naming every package that cannot be used.
    """
    loaded, faults = {}, []
    for name, stream in config.streams.items():
        try:
            package = Package.load(stream.package)
            reference = Reference.from_bytes(package.reference).without_events()
            make_detectors(stream.detect, reference)
        except (FirmwareError, StatsError) as error:
            faults.append(f"streams.{name}: {error}")
            continue
        if package.model.name != name:
            faults.append(f"streams.{name}.package: is a model of stream {package.model.name!r}")
        loaded[name] = package, reference
    if faults:
        raise ConfigError("model packages", faults)
    return loaded


def annotator(settings: Grafana | None) -> Annotator | None:
    """Raises ConfigError where a Grafana is configured, but no token is there."""
    if settings is None:
        return None
    from monitor.daemon.grafana import client as grafana
    from monitor.daemon.grafana.annotations import Annotator

    try:
        return Annotator(grafana.Grafana(settings.url, grafana.token(settings.token_file)))
    except grafana.GrafanaError as error:
        raise ConfigError("grafana", [str(error)]) from None


class Service:
    """Holds the parts together; every decision is the loops'."""

    def __init__(self, config: Config, path: Path) -> None:
        self.config = config
        self.started_at = time.time()
        streams = load_streams(config)
        self.annotator = annotator(config.grafana)
        self._operator_token, operator = tokens.issue(tokens.OPERATOR, tokens.Role.EXPERT)
        self.access = Access(config.http, operator)
        config.state_dir.mkdir(parents=True, exist_ok=True)
        self.ledger = Ledger(config.state_dir / "ledger.sqlite", watch=self._noted)
        self.audit = Audit(config.state_dir / "audit.sqlite")
        self.events = Events()
        self.requests: Counter[tuple[str, str, str]] = Counter()
        by_name = {name: package.model for name, (package, _) in streams.items()}
        self.boards = {name: board_link(config, name, by_name) for name in config.boards}
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        seconds = fit_seconds(self.registry)
        self.workers: dict[str, Remote] = {}
        self.controls: dict[str, StreamControl] = {}
        self._reports: asyncio.Queue[tuple[str, LsReport]] = asyncio.Queue()
        self._stop = asyncio.Event()
        self.notifier = Notifier()
        self.reloads = Reloads(self, path, annotator)
        self._up: dict[str, bool] = {}
        for name, (package, reference) in streams.items():
            settings = config.streams[name]
            worker = self.workers[name] = Remote(partial(logs.logged, FitWorker), settings.package, name=f"fit-{name}")
            self.controls[name] = StreamControl(
                name=name,
                settings=settings,
                ingest=config.ingest,
                package=package,
                reference=reference,
                boards=StreamBoards([self.boards[board] for board in settings.board]),
                worker=worker,
                ledger=self.ledger,
                cache=config.state_dir / "build",
                fit_seconds=seconds.labels(name),
                close=self._closed,
                streams=len(streams),
                annotate=self._annotate,
                changed=self._changed,
            )
        self.receiver = Receiver(
            {name: control.monitor for name, control in self.controls.items()},
            {name: control.package.model.n_features for name, control in self.controls.items()},
            [
                (address, settings.pattern, name)
                for name, settings in config.streams.items()
                for address in settings.addresses
            ],
            config.ingest.receive_high_water_mark,
        )
        self.registry.register(ServiceCollector(self))

    @property
    def ready(self) -> bool:
        """Whether every stream is being counted."""
        now = time.monotonic()
        seen = self.receiver.last_message
        return all(now - seen.get(name, 0) < self.config.ingest.silent_s for name in self.controls)

    def stream(self, control: StreamControl) -> models.Stream:
        """All about one stream."""
        last = self.receiver.last_message.get(control.name)
        silent = None if last is None else round(time.monotonic() - last, 1)
        return views.stream(control, silent, self.config.ingest.silent_s)

    def status(self) -> models.Status:
        """What `driftd status` shows."""
        return models.Status(
            streams={name: self.stream(control) for name, control in self.controls.items()},
            boards={name: models.Board(**board.status()) for name, board in self.boards.items()},
            memory_bytes={"daemon": psutil.Process().memory_info().rss} | self.memory(),
            malformed={f"{source}/{cause}": n for (cause, source), n in self.receiver.malformed.copy().items()},
            started=self.started_at,
        )

    def now(self) -> list[Message]:
        """How all streams are, for who begins to listen."""
        return [
            self.events.now("status", name, self.stream(control).model_dump_json())
            for name, control in self.controls.items()
        ]

    def memory(self) -> dict[str, int]:
        """Resident bytes of the processes beside the daemon, by name."""
        return {worker.name: worker.rss_bytes for worker in self.workers.values()} | {
            f"board-{name}": board.rss_bytes for name, board in self.boards.items()
        }

    async def serve(self, http: HttpServer) -> None:
        """Run until a signal or `stop`."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, number)
        loop.add_signal_handler(signal.SIGHUP, self.reloads.ask)
        listener = socket.create_server((self.config.http.host, self.config.http.port))
        self._loop = loop
        tokens.private(self._operator_file, self._operator_token + "\n")
        self.receiver.start()
        judging = loop.create_task(self._judge_reports())
        tasks = [
            loop.create_task(http.serve(sockets=[listener])),
            judging,
            loop.create_task(self._tick()),
            loop.create_task(self.reloads.run()),
            loop.create_task(self._beat(http, judging)),
            *(loop.create_task(control.startup()) for control in self.controls.values()),
        ]
        scheme = "https" if self.config.http.certificate else "http"
        log.info("started", http=f"{scheme}://{self.config.http.host}:{listener.getsockname()[1]}")
        log.info("audit", head=self.audit.head, entries=self.audit.count)
        try:
            await self._stop.wait()
        finally:
            self.notifier.tell(STOPPING=1, STATUS="stopping: counting what has arrived, disarming boards")
            http.should_exit = True
            self.events.close()
            await self._shutdown(tasks)
            listener.close()

    def stop(self) -> None:
        self._stop.set()

    def sentence(self) -> str:
        """What `systemctl status` shows."""
        streams = ", ".join(f"{name} {control.state.phase}" for name, control in self.controls.items())
        silent = ", ".join(name for name, board in self.boards.items() if not board.up)
        return "; ".join(filter(None, (streams, silent and f"boards silent: {silent}", self.reloads.fault)))

    def _end(self, number: int) -> None:
        """Stop in order; the same signal once more ends at once."""
        asyncio.get_running_loop().remove_signal_handler(number)
        signal.signal(number, lambda *_: os._exit(128 + number))
        self.stop()

    async def _beat(self, http: HttpServer, judging: asyncio.Task[None]) -> None:
        """Tell systemd when all serves, and then again and again that it goes on."""
        while not http.started:
            await asyncio.sleep(0.01)
        self.notifier.tell(READY=1, STATUS=self.sentence())
        rounds, said = -1, list[str]()
        while True:
            await asyncio.sleep(min(TICK_S, (self.notifier.watchdog_s or TICK_S) / 4))
            moving = {"receiver": self.receiver.rounds != rounds, "judging": not judging.done()}
            rounds = self.receiver.rounds
            stuck = [name for name, moves in moving.items() if not moves]
            if not stuck:
                self.notifier.tell(WATCHDOG=1, STATUS=self.sentence())
            elif stuck != said:
                log.error("no progress", parts=stuck)
                self.notifier.tell(STATUS=f"no progress: {', '.join(stuck)}")
            said = stuck

    @property
    def _operator_file(self) -> Path:
        return self.config.state_dir / "operator.token"

    def _annotate(self, stream: str, kind: str, text: str) -> None:
        if self.annotator:
            self.annotator.note(stream, kind, text)

    def _closed(self, stream: str, report: LsReport) -> None:
        """Called in the receiver thread."""
        self._loop.call_soon_threadsafe(self._reports.put_nowait, (stream, report))

    def _noted(self, event: EventRow) -> None:
        """Called in whichever thread wrote to the ledger."""
        self._publish("ledger", event.stream or "", views.event(event))

    def _changed(self, control: StreamControl, judged: bool) -> None:
        if judged:
            self._publish("window", control.name, views.named_window(control))
        self._publish("status", control.name, self.stream(control).model_dump_json())

    def _tell_of_boards(self) -> None:
        for name, board in self.boards.items():
            if self._up.get(name) != board.up:
                self._up[name] = board.up
                said = models.NamedBoard(name=name, **board.status())
                self._publish("board", "", said.model_dump_json())

    def _publish(self, name: Name, stream: str, data: str) -> None:
        """In the order in which things happened, whatever the thread."""
        self._loop.call_soon_threadsafe(self.events.publish, name, stream, data)

    async def _judge_reports(self) -> None:
        while True:
            stream, report = await self._reports.get()
            try:
                self.controls[stream].on_ls(report)
            except Exception:
                log.exception("lumi section not judged", stream=stream, run=report.key.run, ls=report.key.ls)
            await asyncio.sleep(0)  # a queue that is never empty would keep all else from its turn

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            for control in self.controls.values():
                control.feed(Tick())
            self._tell_of_boards()
            try:
                self.audit.settle()
            except AuditError:
                log.exception("attempts not written")

    async def _shutdown(self, tasks: list[asyncio.Task[Any]]) -> None:
        """Count what has arrived, leave no swap armed, end the processes."""
        await asyncio.to_thread(self.receiver.stop)
        with contextlib.suppress(asyncio.TimeoutError):
            async with asyncio.timeout(DISARM_S):
                await asyncio.gather(*(control.shutdown() for control in self.controls.values()))
        for task in tasks[1:]:
            task.cancel()
        await asyncio.wait(tasks, timeout=0.5)
        for worker in self.workers.values():
            worker.close()
        for board in self.boards.values():
            board.close()
        if self.annotator:
            self.annotator.close()
        self.ledger.close()
        self.audit.close()
        self._operator_file.unlink(missing_ok=True)
        log.info("stopped", messages=self.receiver.messages, audit_head=self.audit.head, audit_entries=self.audit.count)
