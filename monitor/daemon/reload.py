"""Another configuration for a running daemon: what of it may change, and changing that."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from monitor import config as configuration
from monitor.config import Config, ConfigError
from monitor.daemon.systemd import Notifier
from monitor.stats.detect.detectors import Detector

if TYPE_CHECKING:
    from monitor.daemon.grafana.annotations import Annotator

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


class Reloadable(Protocol):
    """A running daemon that can go by another configuration."""

    @property
    def config(self) -> Config:
        """The one in force."""

    def prepare(self, new: Config, difference: Difference) -> Prepared:
        """See whether all of it works; nothing has changed yet. ConfigError names every fault."""

    def apply(self, prepared: Prepared) -> None:
        """Go by it from now on."""

    def sentence(self) -> str:
        """What it does, for people."""

    def note(self, level: str, text: str, data: dict[str, Any]) -> None:
        """Keep what became of a reload."""


class Reloads:
    """Takes the configuration file over again and again, as a whole or not at all; one at a time."""

    def __init__(self, daemon: Reloadable, notifier: Notifier, path: Path) -> None:
        self._daemon = daemon
        self._notifier = notifier
        self._path = path
        self._wanted = asyncio.Event()
        self.fault = ""

    def ask(self) -> None:
        """Have the file read again soon."""
        self._wanted.set()

    async def run(self) -> None:
        """Reload whenever it is asked for, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            self._notifier.tell(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000)
            try:
                await self._reload()
            except ConfigError as error:
                self._refuse(error.faults)
            except Exception as error:
                log.exception("reload broke")
                self._refuse([repr(error)])
            self._notifier.tell(READY=1, STATUS=self._daemon.sentence())

    async def _reload(self) -> None:
        prepared = await asyncio.to_thread(self._prepare)
        self.fault = ""
        if prepared.changes:
            self._daemon.apply(prepared)
        told = "configuration reloaded: " + (", ".join(prepared.changes) or "nothing changed")
        log.info(told)
        self._daemon.note("info", told, {})

    def _refuse(self, faults: list[str]) -> None:
        self.fault = f"reload refused: {'; '.join(faults)}"
        log.error("reload refused, the old configuration stays in force", faults=faults)
        self._daemon.note("error", self.fault, {"faults": faults})

    def _prepare(self) -> Prepared:
        """What the file says now, with all of it known to work.

        Raises:
            ConfigError: the file has faults, or asks for what a running daemon cannot change; all are named.
        """
        new = configuration.load(self._path)
        changed = difference(self._daemon.config, new)
        restart = [f"restart for: {', '.join(changed.restart)}"] if changed.restart else []
        try:
            prepared = self._daemon.prepare(new, changed)
        except ConfigError as error:
            raise ConfigError(self._path, restart + error.faults) from None
        if restart:
            raise ConfigError(self._path, restart)
        return prepared
