"""How fast the daemon counts what comes over loopback TCP, beside a loop that only receives it."""

from __future__ import annotations

import importlib
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
import psutil
import zmq

from firmware.process import Remote
from firmware.wire import CROSSINGS, Batch, Decoder
from monitor.bench.traffic import BITS, WIDTH, reference, run_of
from monitor.config import Config, StreamSettings, load
from monitor.daemon.ingest.receiver import Receiver
from monitor.stats.count import counting
from monitor.watch.detectors import make_detectors
from monitor.watch.policy import Policy
from monitor.watch.report import LsReport
from monitor.watch.stream import StreamMonitor
from recalib.sample import Sampler

ORBITS = {"orbit": 1, "64k": 18}
"""Orbits a message."""
COST_ORBITS = 9000
DEADLINE_S = 60.0


def ingest(path: Path, rounds: int, orbits: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """Scores per second of the daemon and of the bare loop, in turn, in the same processes all along.

    A round sends a run of `orbits` orbits to the one, then to the other, for each type and size of
    message; a first one warms up. Rates and ratios are medians over the rounds; those at the top are
    of the worse type. `lost` counts every message that was not counted, for whatever cause.
    """
    context = zmq.Context()
    context.setsockopt(zmq.LINGER, 0)
    taps = [_tap(context) for _ in range(2)]
    bare = Remote(BareReceiver, taps[0].get_string(zmq.LAST_ENDPOINT), path, name="bare")
    daemon = Remote(Daemon, taps[1].get_string(zmq.LAST_ENDPOINT), path, name="daemon")
    seconds: defaultdict[tuple[str, str], list[list[float]]] = defaultdict(list)
    sent = 0
    try:
        for number in range(rounds + 1):
            for run, (dtype, size) in enumerate(((d, s) for d in BITS for s in ORBITS), start=4 * number):
                messages = list(run_of(dtype, ORBITS[size], orbits, run))
                sent += len(messages)
                times = [_send(messages, tap, to) for tap, to in zip(taps, (bare, daemon), strict=True)]
                if number:
                    seconds[dtype, size].append(times)
                    said = " of ".join(f"{orbits * CROSSINGS / spent / 1e6:.0f}" for spent in times[::-1])
                    progress(f"{dtype} {size:5} {said} M scores/s")
            if not number:
                warm = daemon.call("state", deadline=DEADLINE_S)
        state = daemon.call("state", deadline=DEADLINE_S)
    finally:
        daemon.close()
        bare.close()
        context.destroy()
    by_dtype: dict[str, dict[str, float]] = {dtype: {} for dtype in BITS}
    for (dtype, size), found in seconds.items():
        received, counted = np.array(found).T
        by_dtype[dtype][f"ratio_{size}"] = round(float(np.median(received / counted)), 3)
        by_dtype[dtype][f"scores_per_s_{size}"] = round(orbits * CROSSINGS / float(np.median(counted)))
    return {
        **{name: min(figures[name] for figures in by_dtype.values()) for name in by_dtype["u2"]},
        "by_dtype": by_dtype,
        "lost": sent - state["counted"],
        "rss_mb": state["rss_mb"],
        "rss_mb_start": warm["rss_mb"],
        "rss_mb_peak": state["rss_mb_peak"],
        "counting": "numpy" if counting.kernel is None else "compiled",
        "us_per_message": {dtype: {size: costs(path, dtype, size) for size in ORBITS} for dtype in BITS},
        "rounds": rounds,
        "orbits": orbits,
    }


def costs(path: Path, dtype: str, size: str) -> dict[str, float]:
    """Microseconds of one core a message, by what they go into."""
    messages = list(run_of(dtype, ORBITS[size], COST_ORBITS, 1))
    decoder = Decoder()
    began = time.thread_time()
    batches = [decoder.decode(frames) for frames in messages]
    spent = [time.thread_time() - began]
    for detecting in (False, True):
        monitor = _monitor(load(path), dtype, lambda name, report: None)
        if not detecting:
            monitor.detectors = {}
        began = time.thread_time()
        for batch in batches:
            monitor.add(batch)
        spent.append(time.thread_time() - began)
    decoding, adding, detecting_too = (1e6 * s / len(messages) for s in spent)
    named = {"decoding": decoding, "counting": adding, "detectors": detecting_too - adding}
    return {name: round(us, 1) for name, us in named.items()}


def _tap(context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
    tap = context.socket(zmq.PUSH)
    tap.set(zmq.SNDTIMEO, int(1000 * DEADLINE_S))
    tap.bind("tcp://127.0.0.1:*")
    return tap


def _send(messages: list[list[bytes]], tap: zmq.Socket[bytes], to: Remote) -> float:
    """Seconds from the first message sent until the last is counted."""
    with ThreadPoolExecutor(1) as waiting:
        done = waiting.submit(to.call, "receive", len(messages), deadline=DEADLINE_S)
        began = time.perf_counter()
        for frames in messages:
            tap.send_multipart(frames)
        return float(done.result() - began)


class BareReceiver:
    """Receives, and does nothing."""

    def __init__(self, address: str, path: Path) -> None:
        self._socket = zmq.Context().socket(zmq.PULL)
        self._socket.set(zmq.RCVHWM, load(path).ingest.receive_high_water_mark)
        self._socket.connect(address)

    def receive(self, messages: int) -> float:
        """The time at which so many more have come."""
        for _ in range(messages):
            self._socket.recv_multipart()
        return time.perf_counter()


class Daemon:
    """The daemon's receiver with a stream of each type; detectors, policy and sample are those of the first stream."""

    def __init__(self, address: str, path: Path) -> None:
        importlib.import_module("monitor.daemon.service")  # to be as large as the daemon
        config = load(path)
        settings = _settings(config)
        self._closed: SimpleQueue[tuple[str, LsReport]] = SimpleQueue()
        self._streams = {dtype: _monitor(config, dtype, lambda *closed: self._closed.put(closed)) for dtype in BITS}
        self._policies = {
            dtype: Policy(settings.detect, settings.hold, monitor.reference) for dtype, monitor in self._streams.items()
        }
        self._due = 0
        self._rss_mb: list[float] = []
        self._receiver = Receiver(
            self._streams,
            dict.fromkeys(BITS, WIDTH),
            [(address, "pull", dtype) for dtype in BITS],
            config.ingest.receive_high_water_mark,
        )
        self._receiver.start()

    def receive(self, messages: int) -> float:
        """The time at which so many more are counted."""
        self._due += messages
        while self._receiver.messages < self._due:
            try:
                dtype, report = self._closed.get(timeout=0.002)
            except Empty:
                continue
            self._policies[dtype].assess(report)
            self._weigh()
        return time.perf_counter()

    def _weigh(self) -> None:
        self._rss_mb.append(psutil.Process().memory_info().rss / 1e6)

    def state(self) -> dict[str, Any]:
        """Messages counted so far, and memory now and at most, in megabytes."""
        self._weigh()
        accounts = [account for monitor in self._streams.values() for account in monitor.totals().values()]
        skipped = sum(sum(monitor.skipped.values()) for monitor in self._streams.values())
        return {
            "counted": sum(account.received for account in accounts) - skipped,
            "rss_mb": round(self._rss_mb[-1], 1),
            "rss_mb_peak": round(max(self._rss_mb), 1),
        }


def _settings(config: Config) -> StreamSettings:
    return next(iter(config.streams.values()))


def _monitor(config: Config, dtype: str, close: Callable[[str, LsReport], None]) -> StreamMonitor:
    settings = _settings(config)
    expected = reference(dtype)
    sampler = Sampler(settings.recalibrate.memory_events, settings.recalibrate.seed)

    def keep(batch: Batch) -> None:
        header = batch.header
        codes = batch.codes[batch.index]
        moment = header.ls, header.generation, header.epoch, header.run
        sampler.add(np.asarray(batch.events), np.asarray(batch.inclusion), codes, *moment)

    return StreamMonitor(
        dtype,
        expected,
        expected.binning.cuts,
        make_detectors(settings.detect, expected, len(BITS)),
        config.ingest,
        close=lambda report: close(dtype, report),
        sample=keep,
        pileup_error=settings.detect.pileup_error,
    )
