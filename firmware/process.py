"""An object that lives in a process of its own, called with a deadline."""

import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple

import psutil

from firmware.errors import DeadlineExceeded, ProcessDied, ProcessError

REAP_S = 5.0


class _Child(NamedTuple):
    process: SpawnProcess
    link: "Connection[Any, Any]"


class Remote:
    """One object in a spawned process, built at the first call and again after a death.

    Calls are taken one at a time, from any thread. An exception of the object arrives as itself, with
    the remote traceback as a note. A deadline kills the process, whatever it is doing, so it holds even
    against code that never lets go of the interpreter lock.

    With `on_progress` the method is called with the keyword `progress`: a callable that passes one
    picklable value back while the method runs. An exception raised by `on_progress` kills the process.
    """

    def __init__(
        self, factory: Callable[..., object], *args: object, name: str = "remote", start_deadline: float = 60
    ) -> None:
        self.name = name
        self._factory = factory
        self._args = args
        self._start_deadline = start_deadline
        self._turn = threading.Lock()
        self._closed = False
        self._child: _Child | None = None

    @property
    def pid(self) -> int | None:
        """Of the running process; None when there is none."""
        child = self._child
        return child.process.pid if child is not None and child.process.is_alive() else None

    @property
    def rss_bytes(self) -> int:
        """Resident memory of the process; 0 when there is none."""
        pid = self.pid
        with suppress(psutil.NoSuchProcess):
            return int(psutil.Process(pid).memory_info().rss) if pid is not None else 0
        return 0

    def start(self) -> None:
        """Start the process and build the object now, so that the first call need not."""
        with self._turn:
            self._running()

    def call(
        self, method: str, *args: object, deadline: float, on_progress: Callable[[Any], None] | None = None
    ) -> Any:
        """The answer of `method(*args)`.

        Waiting for an earlier call and running this one may take `deadline` seconds each; starting a
        process has its own limit.

        Raises:
            DeadlineExceeded: no answer in time. If the call had begun, the process was killed.
            ProcessDied: the process ended during the call, which may have had its effect.
        """
        if not self._turn.acquire(timeout=deadline):
            raise DeadlineExceeded(f"{self.name}.{method}: another call kept it busy for {deadline:g} s")
        try:
            request = (method, args, on_progress is not None)
            return self._exchange(self._running(), request, deadline, on_progress)
        finally:
            self._turn.release()

    def close(self) -> None:
        """End the process; a call in flight raises ProcessDied."""
        # Killed before its turn is asked for: a call in flight holds the turn, and ends by this.
        self._closed = True
        if (child := self._child) is not None:
            child.process.kill()
        with self._turn:
            self._drop()

    def _running(self) -> _Child:
        if self._child is not None and self._child.process.is_alive():
            return self._child
        self._drop()
        self._check_open()
        # Not "fork": the child would hold a copy of every socket and lock that this process has open.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        arguments = (theirs, self._factory, self._args)
        process = context.Process(target=_serve, args=arguments, name=self.name, daemon=True)
        process.start()
        # The child's end is closed here, so that its death is an end of file and not a wait for ever.
        theirs.close()
        self._child = _Child(process, ours)
        try:
            self._check_open()
            self._exchange(self._child, None, self._start_deadline, None)
        except BaseException:
            self._drop()
            raise
        return self._child

    def _check_open(self) -> None:
        if self._closed:
            raise ProcessDied(f"{self.name} is closed")

    def _exchange(
        self,
        child: _Child,
        request: tuple[str, tuple[object, ...], bool] | None,
        seconds: float,
        on_progress: Callable[[Any], None] | None,
    ) -> Any:
        due = time.monotonic() + seconds
        # A timer that kills, not a receive with a timeout: `send` and `recv` may both block in the middle of a message.
        overdue = threading.Timer(seconds, child.process.kill)
        overdue.daemon = True
        overdue.start()
        try:
            if request is not None:
                child.link.send(request)
            while (reply := child.link.recv())[0] == "progress":
                if on_progress is not None:
                    on_progress(reply[1])
        except BaseException as error:
            # Also after a KeyboardInterrupt: an answer that comes later would be taken for that of the next call.
            self._drop()
            if not isinstance(error, (EOFError, ConnectionError)):
                raise
            what = f"{self.name}.{request[0] if request else 'start'}"
            if time.monotonic() >= due:
                raise DeadlineExceeded(f"{what}: no answer within {seconds:g} s") from None
            raise ProcessDied(f"{what}: process ended (exit {child.process.exitcode})") from None
        finally:
            overdue.cancel()
            overdue.join()
        outcome, value = reply
        if outcome == "failed":
            raise value
        return value

    def _drop(self) -> None:
        if self._child is not None:
            self._child.process.kill()
            self._child.process.join(REAP_S)
            self._child.link.close()
            self._child = None


def _serve(link: "Connection[Any, Any]", factory: Callable[..., object], args: tuple[object, ...]) -> None:
    # Ctrl-C reaches the whole group of processes; whether this one ends is for its parent to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    target: object = None

    def build() -> None:
        nonlocal target
        target = factory(*args)

    with suppress(EOFError, ConnectionError):
        link.send_bytes(_answer(build))
        while True:
            link.send_bytes(_answer(partial(_perform, target, link.recv_bytes(), link)))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _perform(target: object, request: bytes, link: "Connection[Any, Any]") -> object:
    method, args, reports = pickle.loads(request)
    if reports:
        return getattr(target, method)(*args, progress=lambda value: link.send(("progress", value)))
    return getattr(target, method)(*args)


def _answer(action: Callable[[], object]) -> memoryview:
    try:
        return ForkingPickler.dumps(("done", action()))
    except Exception as error:
        error.add_note(f"in process {os.getpid()}:\n{traceback.format_exc().rstrip()}")
        try:
            answer = ForkingPickler.dumps(("failed", error))
            # Read back here: an exception that can be written but not read would break the parent's `recv`.
            pickle.loads(answer)
            return answer
        except Exception:
            return ForkingPickler.dumps(("failed", ProcessError("\n".join([repr(error), *error.__notes__]))))
