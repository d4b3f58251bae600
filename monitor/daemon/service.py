"""The daemon: startup, main loop, shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector

from monitor import logs
from monitor.config import Config, ConfigError, GrafanaSettings
from monitor.daemon.announcer import Announcer
from monitor.daemon.heartbeat import beat
from monitor.daemon.http import tokens
from monitor.daemon.http.access import Access
from monitor.daemon.http.app import application
from monitor.daemon.http.audit import Audit, AuditError
from monitor.daemon.http.context import Context
from monitor.daemon.http.metrics import DaemonCollector, fit_seconds
from monitor.daemon.http.overview import Overview
from monitor.daemon.http.server import HttpServer
from monitor.daemon.http.sse import Broadcast
from monitor.daemon.ingest.receiver import Receiver
from monitor.daemon.reload import Difference, Prepared, Reloads
from monitor.daemon.run.boards import StreamBoards, board_link
from monitor.daemon.run.building import StreamAtWork
from monitor.daemon.run.loaded import load_streams
from monitor.daemon.systemd import Notifier
from monitor.loop.events import Ticked
from monitor.stats.errors import StatsError
from monitor.store.ledger import Ledger
from monitor.store.rows import EventRow
from recalib.worker import FitWorker, RemoteFitWorker

if TYPE_CHECKING:
    from monitor.daemon.grafana.annotations import Annotator

log = structlog.get_logger()

TICK_S = 2.0
DISARM_S = 2.5
"""How long the end waits for boards to be disarmed."""
END_S = 0.5
"""How long the end waits for tasks that were cancelled."""


def annotator(settings: GrafanaSettings | None) -> Annotator | None:
    """What writes annotations, where a Grafana is configured.

    Raises:
        ConfigError: no token is there for it.
    """
    if settings is None:
        return None
    from monitor.daemon.grafana import client
    from monitor.daemon.grafana.annotations import Annotator

    try:
        return Annotator(client.Grafana(settings.url, client.token(settings.token_file)))
    except client.GrafanaError as error:
        raise ConfigError("grafana", [str(error)]) from None


class Service:
    """Holds the parts together; every decision is the loops'. It is made in the event loop's thread.

    Raises:
        ConfigError: something that the configuration names cannot be used.
        AuditError: the audit cannot be written.
    """

    def __init__(self, config: Config, path: Path) -> None:
        self.config = config
        loaded = load_streams(config)
        self.notifier = Notifier()
        self.reloads = Reloads(self, self.notifier, path)
        self._stop = asyncio.Event()
        self._operator_token, operator = tokens.issue(tokens.OPERATOR, tokens.Role.EXPERT)
        access, writer = Access(config.http, operator), annotator(config.grafana)
        config.state_dir.mkdir(parents=True, exist_ok=True)
        self.ledger = Ledger(config.state_dir / "ledger.sqlite", watch=self._noted)
        self.audit = Audit(config.state_dir / "audit.sqlite")
        models = {name: stream.package.model for name, stream in loaded.items()}
        self.boards = {name: board_link(config, name, models) for name in config.boards}
        self.workers = {
            name: RemoteFitWorker(stream.settings.package, f"fit-{name}", partial(logs.logged, FitWorker))
            for name, stream in loaded.items()
        }
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        seconds = fit_seconds(registry)
        self.streams: dict[str, StreamAtWork] = {}
        for name, stream in loaded.items():
            self.streams[name] = StreamAtWork(
                stream,
                config.ingest,
                len(loaded),
                StreamBoards([self.boards[board] for board in stream.settings.board]),
                self.workers[name],
                self.ledger,
                config.state_dir / "build",
                seconds.labels(name),
                self,
            )
        self.receiver = Receiver(
            {name: stream.monitor for name, stream in self.streams.items()},
            {name: stream.package.model.n_features for name, stream in loaded.items()},
            [
                (address, settings.pattern, name)
                for name, settings in config.streams.items()
                for address in settings.addresses
            ],
            config.ingest.receive_high_water_mark,
        )
        overview = Overview(self.streams, self.boards, self.receiver, lambda: self.config.ingest.silent_s, self._memory)
        self.context = Context(access, self.audit, self.ledger, overview, Broadcast(), registry)
        self.announcer = Announcer(self.context.broadcast, overview, writer)
        registry.register(DaemonCollector(self.context, self._annotations))

    async def serve(self) -> None:
        """Run until a signal or `stop`.

        Raises:
            ConfigError: certificate or key cannot be used.
        """
        http = HttpServer(self.config, application(self.context))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, number)
        loop.add_signal_handler(signal.SIGHUP, self.reloads.ask)
        listener = socket.create_server((self.config.http.host, self.config.http.port))
        tokens.private(self._operator_file, self._operator_token + "\n")
        self.receiver.start()
        runners = [stream.runner for stream in self.streams.values()]
        judging = [loop.create_task(runner.run()) for runner in runners]
        tasks = [
            loop.create_task(http.serve(sockets=[listener])),
            *judging,
            loop.create_task(self._tick()),
            loop.create_task(self.reloads.run()),
            loop.create_task(self._beat(http, judging)),
            *(loop.create_task(runner.startup()) for runner in runners),
        ]
        scheme = "https" if self.config.http.certificate else "http"
        log.info("started", http=f"{scheme}://{self.config.http.host}:{listener.getsockname()[1]}")
        log.info("audit", head=self.audit.head, entries=self.audit.count)
        try:
            await self._stop.wait()
        finally:
            self.notifier.tell(STOPPING=1, STATUS="stopping: counting what has arrived, disarming boards")
            http.should_exit = True
            self.context.broadcast.close()
            await self._shutdown(tasks)
            listener.close()

    def stop(self) -> None:
        """End in order."""
        self._stop.set()

    def sentence(self) -> str:
        """What `systemctl status` shows."""
        streams = ", ".join(f"{name} {stream.runner.state.phase}" for name, stream in self.streams.items())
        silent = ", ".join(name for name, board in self.boards.items() if not board.up)
        return "; ".join(filter(None, (streams, silent and f"boards silent: {silent}", self.reloads.fault)))

    def changed(self, stream: str, judged: bool) -> None:
        """Tell what a stream shows now."""
        self.announcer.changed(stream, judged)

    def annotate(self, stream: str, kind: str, text: str) -> None:
        """Mark a drift, a push or a rollback in the plots."""
        self.announcer.annotate(stream, kind, text)

    def note(self, level: str, text: str, data: dict[str, Any]) -> None:
        """Keep what became of a reload."""
        self.ledger.add_event(None, "reload", level, text, data)

    def prepare(self, new: Config, difference: Difference) -> Prepared:
        """See whether all of another configuration works; nothing has changed yet.

        Raises:
            ConfigError: naming every fault.
        """
        faults: list[str] = []
        detectors = {}
        for name, stream in self.streams.items():
            try:
                if name in new.streams:
                    detectors[name] = stream.detectors_for(new.streams[name])
            except StatsError as error:
                faults.append(f"streams.{name}: {error}")
        writer = self.announcer.annotator
        another = any(key.startswith("grafana") for key in difference.live)
        if another and not faults and not difference.restart:
            writer = annotator(new.grafana)
        if faults:
            raise ConfigError("streams", faults)
        return Prepared(new, difference.live, detectors, writer)

    def apply(self, prepared: Prepared) -> None:
        """Go by another configuration from now on."""
        self.config = prepared.config
        logs.configure(self.config.log_level)
        self.announcer.use(prepared.annotator)
        for name, stream in self.streams.items():
            stream.use(self.config.streams[name], prepared.detectors[name], self.receiver)

    @property
    def _operator_file(self) -> Path:
        return self.config.state_dir / "operator.token"

    def _memory(self) -> dict[str, int]:
        """Resident bytes of the processes beside the daemon, by name."""
        return {worker.name: worker.rss_bytes for worker in self.workers.values()} | {
            f"board-{name}": board.rss_bytes for name, board in self.boards.items()
        }

    def _annotations(self) -> dict[str, int]:
        writer = self.announcer.annotator
        return {} if writer is None else dict(writer.outcomes)

    def _end(self, number: int) -> None:
        """Stop in order; the same signal once more ends at once."""
        asyncio.get_running_loop().remove_signal_handler(number)
        signal.signal(number, lambda *_: os._exit(128 + number))
        self.stop()

    def _noted(self, event: EventRow) -> None:
        """Called in whichever thread wrote to the ledger; nothing is noted before all parts are made."""
        self.announcer.noted(event)

    async def _beat(self, http: HttpServer, judging: list[asyncio.Task[None]]) -> None:
        while not http.started:
            await asyncio.sleep(0.01)
        rounds = -1

        def receiving() -> bool:
            nonlocal rounds
            before, rounds = rounds, self.receiver.rounds
            return rounds != before

        def judges() -> bool:
            return not any(task.done() for task in judging)

        await beat(self.notifier, {"receiver": receiving, "judging": judges}, self.sentence)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            for stream in self.streams.values():
                stream.runner.feed(Ticked())
            self.announcer.boards()
            try:
                self.audit.settle()
            except AuditError:
                log.exception("attempts not written")

    async def _shutdown(self, tasks: list[asyncio.Task[Any]]) -> None:
        """Count what has arrived, leave no swap armed, end the processes."""
        await asyncio.to_thread(self.receiver.stop)
        with contextlib.suppress(asyncio.TimeoutError):
            async with asyncio.timeout(DISARM_S):
                await asyncio.gather(*(stream.runner.shutdown() for stream in self.streams.values()))
        # The first task serves HTTP and ends by itself, with the answers that are under way.
        for task in tasks[1:]:
            task.cancel()
        await asyncio.wait(tasks, timeout=END_S)
        for worker in self.workers.values():
            worker.close()
        for board in self.boards.values():
            board.close()
        self.announcer.close()
        self.ledger.close()
        self.audit.close()
        self._operator_file.unlink(missing_ok=True)
        log.info("stopped", messages=self.receiver.messages, audit_head=self.audit.head, audit_entries=self.audit.count)
