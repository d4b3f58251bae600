import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from firmware.errors import DeadlineExceeded, ProcessDied, ProcessError
from firmware.process import Remote


class Worker:
    """What lives in the other process: behaves and misbehaves on request."""

    def __init__(self, start: int = 0) -> None:
        if start < 0:
            raise ValueError(f"start is {start}, expected >= 0")
        self.total = start

    def add(self, amount: int) -> int:
        self.total += amount
        return self.total

    def pid(self) -> int:
        return os.getpid()

    def hang(self) -> None:
        print(os.getpid(), flush=True)
        signal.pause()

    def exit(self) -> None:
        os._exit(3)

    def echo(self, array: NDArray[Any]) -> NDArray[Any]:
        return array

    def divide(self, a: int, b: int) -> float:
        return a / b

    def lock(self) -> object:
        return threading.Lock()

    def awkward(self) -> None:
        raise Awkward("left", "right")

    def count(self, to: int, progress: Callable[[int], None] | None = None) -> str:
        for i in range(to):
            if progress is not None:
                progress(i)
        return "counted"


class Awkward(Exception):
    """Pickles, but does not unpickle."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


@pytest.fixture
def remote() -> Iterator[Remote]:
    remote = Remote(Worker, 10, name="worker")
    yield remote
    remote.close()


def test_one_object_answers_all_calls_in_one_other_process(remote: Remote) -> None:
    assert remote.pid is None
    assert remote.rss_bytes == 0
    remote.start()
    pid = remote.pid
    assert pid is not None
    assert remote.call("pid", deadline=5) == pid != os.getpid()
    assert remote.call("add", 5, deadline=5) == 15
    assert remote.call("add", 5, deadline=5) == 20
    assert remote.rss_bytes > 1 << 20


def test_a_call_past_its_deadline_kills_the_process_and_the_next_call_starts_afresh(remote: Remote) -> None:
    remote.start()
    pid = remote.pid
    assert pid is not None
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"worker\.hang: no answer within 0\.2 s"):
        remote.call("hang", deadline=0.2)
    assert time.monotonic() - started < 30
    assert not psutil.pid_exists(pid)
    assert remote.call("add", 1, deadline=5) == 11
    assert remote.pid != pid


def test_the_deadline_holds_against_a_process_that_does_not_read(remote: Remote) -> None:
    remote.start()
    assert remote.pid is not None
    os.kill(remote.pid, signal.SIGSTOP)
    with pytest.raises(DeadlineExceeded):
        remote.call("echo", np.zeros(1 << 20), deadline=0.2)


def test_a_process_that_dies_in_a_call_is_reported_and_replaced(remote: Remote) -> None:
    with pytest.raises(ProcessDied, match=r"worker\.exit: process ended \(exit 3\)"):
        remote.call("exit", deadline=5)
    assert remote.call("add", 1, deadline=5) == 11


def test_a_process_killed_between_calls_is_replaced_silently(remote: Remote) -> None:
    remote.start()
    pid = remote.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    while remote.pid is not None:
        time.sleep(0.01)
    assert remote.call("add", 1, deadline=5) == 11


def test_an_exception_arrives_as_itself_with_the_remote_traceback(remote: Remote) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        remote.call("divide", 1, 0, deadline=5)
    assert "return a / b" in caught.value.__notes__[0]
    assert remote.call("divide", 1, 2, deadline=5) == 0.5


def test_what_cannot_be_passed_is_an_error_and_not_a_death(remote: Remote) -> None:
    remote.start()
    pid = remote.pid
    with pytest.raises(TypeError, match="pickle"):
        remote.call("lock", deadline=5)
    with pytest.raises(ProcessError, match="left and right"):
        remote.call("awkward", deadline=5)
    with pytest.raises(AttributeError, match="no_such_method"):
        remote.call("no_such_method", deadline=5)
    assert remote.pid == pid


def test_a_factory_that_fails_says_why_at_every_call() -> None:
    remote = Remote(Worker, -1)
    for _ in range(2):
        with pytest.raises(ValueError, match="start is -1"):
            remote.call("pid", deadline=5)
    assert remote.pid is None


def test_progress_arrives_in_order_before_the_answer(remote: Remote) -> None:
    seen: list[int] = []
    assert remote.call("count", 4, deadline=5, on_progress=seen.append) == "counted"
    assert seen == [0, 1, 2, 3]
    assert remote.call("count", 4, deadline=5) == "counted"


def test_an_exception_in_the_progress_callback_cancels_the_call(remote: Remote) -> None:
    def cancel(step: int) -> None:
        raise KeyError(step)

    with pytest.raises(KeyError):
        remote.call("count", 4, deadline=5, on_progress=cancel)
    assert remote.call("add", 1, deadline=5) == 11


def test_threads_take_turns_and_no_answer_is_mixed_up(remote: Remote) -> None:
    answers: list[tuple[int, float]] = []

    def ask(number: int) -> None:
        answers.extend((number, remote.call("divide", number, 1, deadline=20)) for _ in range(50))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 200
    assert all(number == answer for number, answer in answers)


def test_waiting_for_another_call_has_the_deadline_too(remote: Remote) -> None:
    remote.start()
    pid = remote.pid
    entered, leave = threading.Event(), threading.Event()
    outcome: list[str] = []

    def wait(_: int) -> None:
        entered.set()
        leave.wait(20)

    def occupy() -> None:
        outcome.append(remote.call("count", 1, deadline=30, on_progress=wait))

    thread = threading.Thread(target=occupy)
    thread.start()
    assert entered.wait(10)
    with pytest.raises(DeadlineExceeded, match="another call kept it busy"):
        remote.call("add", 1, deadline=0.05)
    assert remote.pid == pid
    leave.set()
    thread.join()
    assert outcome == ["counted"]


def test_closing_ends_a_call_in_flight_and_refuses_the_next(remote: Remote) -> None:
    remote.start()
    pid = remote.pid
    assert pid is not None
    outcome: list[BaseException] = []

    def hang() -> None:
        try:
            remote.call("hang", deadline=60)
        except ProcessError as error:
            outcome.append(error)

    thread = threading.Thread(target=hang)
    thread.start()
    remote.close()
    thread.join(10)
    assert not thread.is_alive()
    assert [type(error) for error in outcome] == [ProcessDied]
    assert not psutil.pid_exists(pid)
    with pytest.raises(ProcessDied, match="closed"):
        remote.call("pid", deadline=5)


class ClosesItsRemote:
    """An argument that has its Remote closed while it is on its way into the new process."""

    remote: Remote

    def __reduce__(self) -> tuple[type[int], tuple[()]]:
        self.closing = threading.Thread(target=self.remote.close)
        self.closing.start()
        while not self.remote._closed:
            time.sleep(0.001)
        return int, ()


def test_closing_while_the_process_starts_leaves_none_behind() -> None:
    argument = ClosesItsRemote()
    remote = argument.remote = Remote(Worker, argument)
    with pytest.raises(ProcessDied, match="remote is closed"):
        remote.call("hang", deadline=20)
    argument.closing.join(10)
    assert not argument.closing.is_alive()
    assert remote.pid is None


def test_a_hundred_megabytes_pass_both_ways(remote: Remote) -> None:
    remote.start()
    array = np.arange(25_000_000, dtype=np.int32)
    np.testing.assert_array_equal(remote.call("echo", array, deadline=30), array)


def test_an_interrupt_from_the_keyboard_leaves_the_process_alone(remote: Remote) -> None:
    remote.start()
    pid = remote.pid
    assert pid is not None
    os.kill(pid, signal.SIGINT)
    assert remote.call("pid", deadline=5) == pid


@pytest.mark.parametrize("busy", [False, True])
def test_the_process_ends_when_its_parent_is_killed(busy: bool, tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import threading\n"
        "from firmware.process import Remote\n"
        "from tests.firmware.test_process import Worker\n"
        "if __name__ == '__main__':\n"
        "    remote = Remote(Worker)\n"
        "    remote.start()\n"
        f"    if {busy}:\n"
        "        remote.call('hang', deadline=600)\n"
        "    print(remote.pid, flush=True)\n"
        "    threading.Event().wait()\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, env=environment)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    child.wait(timeout=10)
