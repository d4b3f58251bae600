"""One stream's loop at work: what becomes of a fit when the loop goes on without it."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from monitor.loop.loop import Phase
from prometheus_client import CollectorRegistry, Histogram

from firmware.model.package import Package
from firmware.process import Remote
from monitor.config import StreamSettings
from monitor.daemon.http.views import stream
from monitor.daemon.run.control import StreamControl
from monitor.loop import loop
from monitor.stats.count.reference import Reference
from monitor.store.ledger import Ledger
from monitor.watch.settings import Ingest
from recalib.proposal import Step
from recalib.training.train import TrainSettings, build_package

TINY = TrainSettings(training_events=8192, epochs=1, reference_events=60_000, pileup_edges=(30.0, 45.0, 60.0))
STEPS = 400
"""Of the slow fit, each of 0.05 s."""


class SlowWorker:
    """Fits for longer than anyone waits, and says at every step where it is."""

    def warm_up(self, cache: Path) -> str:
        return "warm"

    def propose(self, request: object, progress: Callable[[Step], None]) -> None:
        for number in range(STEPS):
            progress(Step("fitting", f"input_scale: step {number}"))
            time.sleep(0.05)


class Ready:
    """A board that nobody writes to."""

    name = "gt"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    return build_package(tmp_path_factory.mktemp("control") / "tiny.driftd", TINY)


@pytest.fixture
def remote() -> Iterator[Remote]:
    worker = Remote(SlowWorker, name="fit")
    worker.start()
    yield worker
    worker.close()


@pytest.fixture
def control(package: Package, remote: Remote, tmp_path: Path) -> StreamControl:
    board: Any = Ready()
    found = StreamControl(
        package.model.name,
        StreamSettings(package=tmp_path / "unused", board="gt", addresses=("inproc://unused",)),
        Ingest(),
        package,
        Reference.from_bytes(package.reference),
        board,
        remote,
        Ledger(tmp_path / "ledger.sqlite"),
        tmp_path,
        Histogram("fit_seconds", "", registry=CollectorRegistry()),
        close=lambda name, report: None,
    )
    found.state = loop.State(phase=Phase.FITTING, task=1, payload=package.nominal.id, generation=0, epoch=1)
    return found


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    due = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < due, f"not within {seconds} s"
        await asyncio.sleep(0.01)


def test_the_status_says_where_the_fit_is(control: StreamControl) -> None:
    async def scene() -> None:
        work = asyncio.create_task(control._work(loop.Fit(1, (0, 0))))
        await until(lambda: "step 3" in stream(control, None, 60).reason)
        assert stream(control, None, 60).phase == "fitting"
        control.order(loop.Freeze(), "enough seen", "ada")
        await work

    asyncio.run(scene())


def test_a_freeze_ends_a_fit_at_its_next_step_and_the_worker_is_there_for_the_next(
    control: StreamControl, remote: Remote
) -> None:
    """Long before the fit or its deadline would have ended it."""

    async def scene() -> None:
        work = asyncio.create_task(control._work(loop.Fit(1, (0, 0))))
        await until(lambda: "step 2" in control.state.reason)
        busy = remote.pid
        assert busy is not None
        assert not control.order(loop.Freeze(), "maintenance", "ada")
        await asyncio.wait_for(work, 5)
        assert not psutil.pid_exists(busy)
        await until(lambda: control.datapath == "warm")
        assert remote.pid not in (None, busy)

    asyncio.run(scene())
    assert control.state.phase is Phase.FROZEN
    assert control.state.reason == "frozen by an operator"
    assert dict(control.outcomes) == {("fit", "abandoned"): 1}
