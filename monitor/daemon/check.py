"""`driftd check`: whether all that the daemon will need is there and sound, before it is started."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import sqlite3
import ssl
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import numpy as np

from firmware.datapath.emulator import Emulator
from firmware.errors import BoardError, FirmwareError
from firmware.model.model import Model
from firmware.model.package import Package
from firmware.push.readback import check_identity
from firmware.tools.compiler import COMPILER_VARIABLE, compiler
from monitor import config as configuration
from monitor.config import Config, ConfigError, StreamSettings
from monitor.daemon import health
from monitor.daemon.http.access import Access
from monitor.daemon.run.boards import board_link
from monitor.exits import EX_CONFIG, EX_UNAVAILABLE
from monitor.stats.compare.references import contents
from monitor.stats.count.reference import Reference
from monitor.stats.errors import StatsError
from monitor.store.ledger import Ledger
from monitor.terms import SCORES_PER_LS
from monitor.watch.detectors import make_detectors

LITTLE_BYTES, TOO_LITTLE_BYTES = 1 << 30, 1 << 26
"""Free space in state_dir: below the one to be watched, below the other no place for a ledger."""

Mark = Literal["good", "doubtful", "unreachable", "bad"]
MARKS: dict[Mark, str] = {"good": "✓", "doubtful": "!", "unreachable": "✗", "bad": "✗"}


@dataclass(frozen=True)
class Finding:
    """What is known of one part; ``doubtful`` lets the daemon run, and so does what is ``unreachable`` now."""

    mark: Mark
    part: str
    text: str

    def __str__(self) -> str:
        return f"{MARKS[self.mark]} {self.part}: {self.text}"


def exit_code(findings: Sequence[Finding]) -> int:
    """0; 69 where a board does not answer; 78 where anything must be changed first."""
    marks = {finding.mark for finding in findings}
    return EX_CONFIG if "bad" in marks else EX_UNAVAILABLE if "unreachable" in marks else 0


def findings(path: Path, offline: bool) -> Iterator[Finding]:
    """All that is found, in turn; ``offline`` asks no board."""
    try:
        config = configuration.load(path)
    except ConfigError as error:
        for fault in error.faults:
            yield Finding("bad", str(path), fault)
        return
    streams, boards = ", ".join(config.streams), ", ".join(config.boards)
    yield Finding("good", str(path), f"streams {streams} on boards {boards}")
    models: dict[str, Model] = {}
    for name, stream in config.streams.items():
        yield from _package(name, stream, models)
    for name in config.boards:
        yield from _board(config, name, models, offline)
    yield from _state_dir(config.state_dir)
    yield from _ledger(config.state_dir / "ledger.sqlite", models)
    yield from _addresses(config)
    yield from _http(config)
    yield _port(config)
    yield from _grafana(config)
    yield _compiler()


def _package(name: str, stream: StreamSettings, models: dict[str, Model]) -> Iterator[Finding]:
    """Of a sound package the model is added to ``models``."""
    part = f"streams.{name}.package"
    try:
        package = Package.load(stream.package)
        reference = Reference.from_bytes(package.reference)
    except (FirmwareError, StatsError, OSError) as error:
        yield Finding("bad", part, str(error))
        return
    if package.model.name != name:
        yield Finding("bad", part, f"is a model of stream {package.model.name!r}")
        return
    models[name] = package.model
    codes = Emulator(package.model).codes(package.golden_events, package.nominal)
    wrong = np.flatnonzero(codes != package.golden_codes)
    if wrong.size:
        first = int(wrong[0])
        told = f"event {first} gets code {codes[first]}, the package says {package.golden_codes[first]}"
        yield Finding("bad", part, f"{wrong.size} of {len(codes)} golden events differ in the emulator, first: {told}")
    else:
        yield Finding(
            "good", part, f"model {package.model.id[:12]}, {len(codes)} golden events agree with the emulator"
        )
    yield from _reference(f"streams.{name}.reference", stream, package, reference)


def _reference(part: str, stream: StreamSettings, package: Package, reference: Reference) -> Iterator[Finding]:
    cuts = [int(cut) for cut in package.nominal.raw("cuts")]
    if cuts != list(reference.binning.cuts):
        told = f"its bins begin at cuts {list(reference.binning.cuts)}, the nominal payload cuts at {cuts}"
        yield Finding("bad", part, f"{told}: build it with those cuts")
        return
    try:
        make_detectors(stream.detect, reference)
    except StatsError as error:
        yield Finding("bad", part.replace("reference", "detect"), str(error))
        return
    seen = contents(reference, SCORES_PER_LS)
    blind = [
        f"a rate's change of {100 * cut['visible_change']:.2g} % at cut {cut['code']} is the least that shows, "
        f"rate_tolerance is {100 * stream.detect.rate_tolerance:g} %"
        for cut in seen["cuts"]
        if cut["visible_change"] > stream.detect.rate_tolerance
    ]
    if seen["kl_floor_of_reference"] > stream.detect.tolerated_kl:
        blind.append(f"its own KL is {seen['kl_floor_of_reference']:.2g}, tolerated_kl {stream.detect.tolerated_kl:g}")
    if blind:
        yield Finding("doubtful", part, f"{reference.m:,.0f} events are too few: {'; '.join(blind)}")
    else:
        yield Finding("good", part, f"{reference.m:,.0f} events in {reference.binning.n_bins} bins on {len(cuts)} cuts")


def _board(config: Config, name: str, models: dict[str, Model], offline: bool) -> Iterator[Finding]:
    part = f"boards.{name}"
    try:
        link = board_link(config, name, models)
    except ConfigError as error:
        yield from (Finding("bad", part, fault) for fault in error.faults)
        return
    if offline:
        yield Finding("good", part, f"{link.uri} is not asked; its address table fits the models")
        return
    try:
        for stream, model in models.items():
            settings = config.streams[stream]
            if name not in settings.board:
                continue
            state = check_identity(link.board, stream, model.id, model.layout, name)
            capacity = link.board.playback(stream)
            told = f"{stream}: generation {state.generation} of epoch {state.epoch}, LS {state.ls} of run {state.run}"
            if settings.push.require_playback and not capacity:
                yield Finding("bad", part, f"{told}; has no playback, which push.require_playback asks for")
            else:
                yield Finding("good", part, f"{told}; plays back {capacity} events at a time")
    except BoardError as error:
        yield Finding("unreachable", part, f"does not answer: {error}")
    except FirmwareError as error:
        yield Finding("bad", part, str(error))
    finally:
        link.close()


def _state_dir(folder: Path) -> Iterator[Finding]:
    part = "state_dir"
    there = next(each for each in (folder, *folder.parents) if each.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            free = shutil.disk_usage(there).free
    except OSError as error:
        yield Finding("bad", part, f"{there} cannot be written: {error.strerror}")
        return
    mark: Mark = "bad" if free < TOO_LITTLE_BYTES else "doubtful" if free < LITTLE_BYTES else "good"
    told = "can be written" if there == folder else f"will be made in {there}"
    yield Finding(mark, part, f"{folder} {told}, {free / 2**30:.1f} GiB are free")


def _ledger(path: Path, models: dict[str, Model]) -> Iterator[Finding]:
    if not path.exists():
        yield Finding("good", "ledger", f"{path} will be made")
        return
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10) as db:
            faults = [row[0] for row in db.execute("PRAGMA integrity_check(3)") if row[0] != "ok"]
        if faults:
            yield Finding("bad", "ledger", f"{path} is damaged: {'; '.join(faults)}; restore it from a copy")
            return
        with Ledger(path) as ledger:
            active = [told for name, model in models.items() for told in _active(ledger, name, model)]
    except (sqlite3.Error, FirmwareError) as error:
        yield Finding("bad", "ledger", str(error))
        return
    yield Finding("good", "ledger", f"{path} is sound; {'; '.join(active) or 'no payload was active yet'}")


def _active(ledger: Ledger, stream: str, model: Model) -> Iterator[str]:
    """Raises FirmwareError where the newest payload of this model cannot be unpacked."""
    for iov in ledger.history(stream)[-1:]:
        stored = ledger.payload(iov.payload_id, stream)
        if stored.model_id != model.id:
            yield f"the last payload of {stream} is of another model, {stored.model_id[:12]}"
        else:
            yield f"{stream} had {stored.unpack(model.layout).id[:12]} as generation {iov.generation}"


def _addresses(config: Config) -> Iterator[Finding]:
    for name, stream in config.streams.items():
        for address in stream.addresses:
            parts = urlsplit(address)
            if parts.scheme != "tcp":
                continue
            try:
                socket.getaddrinfo(parts.hostname, parts.port)
            except (OSError, ValueError) as error:
                yield Finding("doubtful", f"streams.{name}.addresses", f"{address}: {error}")


def _http(config: Config) -> Iterator[Finding]:
    """Only what is wrong with tokens, certificate and key."""
    http = config.http
    try:
        Access(http)
        if http.certificate:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(http.certificate, http.key)
    except ConfigError as error:
        yield from (Finding("bad", "http", fault) for fault in error.faults)
    except OSError as error:
        yield Finding("bad", "http", f"certificate {http.certificate}, key {http.key}: {error}")


def _port(config: Config) -> Finding:
    host, port = config.http.host, config.http.port
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE and health.alive(config.http):
            return Finding("doubtful", "http", f"port {port} of {host} is taken by a driftd that runs")
        return Finding("bad", "http", f"port {port} of {host} cannot be had: {os.strerror(error.errno or 0)}")
    return Finding("good", "http", f"port {port} of {host} is free")


def _grafana(config: Config) -> Iterator[Finding]:
    if config.grafana is None:
        return
    from monitor.daemon.grafana import client as grafana

    try:
        grafana.token(config.grafana.token_file)
    except grafana.GrafanaError as error:
        yield Finding("bad", "grafana", str(error))
    else:
        yield Finding("good", "grafana", f"there is a token for {config.grafana.url}")


def _compiler() -> Finding:
    found = compiler()
    if found is None:
        return Finding("doubtful", "compiler", f"none: NumPy integers alone will prove payloads; {COMPILER_VARIABLE}")
    return Finding("good", "compiler", found)
