"""Another configuration for a running daemon: what of it may change, and changing that."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from monitor import config as configuration
from monitor import logs
from monitor.config import Config, ConfigError, Grafana
from monitor.stats.detect.detectors import Detector
from monitor.stats.errors import StatsError

if TYPE_CHECKING:
    from monitor.daemon.grafana.annotations import Annotator
    from monitor.daemon.service import Service

log = structlog.get_logger()

LIVE = re.compile(
    r"log_level|grafana(\..*)?|ingest\.silent_s|streams\.\w+\.(mode|(detect|recalibrate|push|waits)\..*)", re.ASCII
)
"""Keys that a running daemon can change; for the others it must be restarted."""


@dataclass(frozen=True)
class Difference:
    """Keys whose values differ: those that can change in a running daemon, and those that cannot."""

    live: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()


def difference(old: Config, new: Config) -> Difference:
    """What changes from one configuration to another, by key; a stream or board that comes or goes is one key."""
    keys = sorted(_unlike("", old.model_dump(), new.model_dump()))
    return Difference(
        tuple(key for key in keys if LIVE.fullmatch(key)), tuple(key for key in keys if not LIVE.fullmatch(key))
    )


def _unlike(key: str, old: Any, new: Any) -> set[str]:
    if old == new:
        return set()
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return {key}
    found: set[str] = set()
    for name in old.keys() | new.keys():
        inner = f"{key}.{name}" if key else name
        found |= _unlike(inner, old[name], new[name]) if name in old and name in new else {inner}
    return found


@dataclass(frozen=True)
class Prepared:
    """A configuration of which all is known to work: only taking it over is left."""

    config: Config
    changes: tuple[str, ...]
    detectors: dict[str, dict[str, Detector]]
    annotator: Annotator | None


class Reloads:
    """Takes the configuration file over again and again, as a whole or not at all; one at a time."""

    def __init__(self, service: Service, path: Path, annotator: Callable[[Grafana | None], Annotator | None]) -> None:
        self._service = service
        self._path = path
        self._annotator = annotator
        self._wanted = asyncio.Event()
        self.fault = ""

    def ask(self) -> None:
        self._wanted.set()

    async def run(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            self._service.notifier.tell(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000)
            try:
                await self._reload()
            except ConfigError as error:
                self._refuse(error.faults)
            except Exception as error:
                log.exception("reload broke")
                self._refuse([repr(error)])
            self._service.notifier.tell(READY=1, STATUS=self._service.sentence())

    async def _reload(self) -> None:
        prepared = await asyncio.to_thread(self._prepare)
        self.fault = ""
        if prepared.changes:
            self._apply(prepared)
        told = "configuration reloaded: " + (", ".join(prepared.changes) or "nothing changed")
        log.info(told)
        self._service.ledger.add_event(None, "reload", "info", told)

    def _refuse(self, faults: list[str]) -> None:
        self.fault = f"reload refused: {'; '.join(faults)}"
        log.error("reload refused, the old configuration stays in force", faults=faults)
        self._service.ledger.add_event(None, "reload", "error", self.fault, {"faults": faults})

    def _prepare(self) -> Prepared:
        """
        Raises:
            ConfigError: the file has faults, or asks for what a running daemon cannot change; all are named.
        """
        service = self._service
        new = configuration.load(self._path)
        changed = difference(service.config, new)
        faults = [f"restart for: {', '.join(changed.restart)}"] if changed.restart else []
        detectors: dict[str, dict[str, Detector]] = {}
        for name, control in service.controls.items():
            try:
                if name in new.streams:
                    detectors[name] = control.detectors_for(new.streams[name])
            except StatsError as error:
                faults.append(f"streams.{name}: {error}")
        annotator = service.annotator
        try:
            if any(key.startswith("grafana") for key in changed.live) and not faults:
                annotator = self._annotator(new.grafana)
        except ConfigError as error:
            faults += error.faults
        if faults:
            raise ConfigError(self._path, faults)
        return Prepared(new, changed.live, detectors, annotator)

    def _apply(self, prepared: Prepared) -> None:
        service, new = self._service, prepared.config
        service.config = new
        logs.configure(new.log_level)
        if prepared.annotator is not service.annotator:
            if service.annotator:
                service.annotator.close()
            service.annotator = prepared.annotator
        for name, control in service.controls.items():
            control.turn(new.streams[name], prepared.detectors[name], service.receiver)
