"""`driftd board`: with no command it runs the board; `set` changes the world around it."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from click.testing import CliRunner, Result

from firmware.sim import board as sim
from monitor.cli.main import main
from monitor.demo import world
from monitor.exits import EX_FAILED


class World:
    """A control socket that answers as a board does, until it has answered once."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.orders: list[dict[str, Any]] = []
        self._answer = answer
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.REP)
        port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self.control = f"tcp://127.0.0.1:{port}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        self.orders.append(self._socket.recv_json())
        self._socket.send_json(self._answer)

    def close(self) -> None:
        self._thread.join(timeout=10)
        self._context.destroy(linger=1000)


@pytest.fixture
def board_world(request: pytest.FixtureRequest) -> Iterator[World]:
    found = World(request.param)
    yield found
    found.close()


def driftd(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["board", *arguments])


@pytest.mark.parametrize("board_world", [{"ok": True, "conditions": ["x"]}], indirect=True)
@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("jet_energy_scale=-0.08", {"do": "condition", "text": "jet_energy_scale=-0.08"}),
        ("clear", {"do": "clear"}),
    ],
)
def test_set_tells_the_board_and_prints_its_status(board_world: World, text: str, order: dict[str, str]) -> None:
    done = driftd("set", text, "--control", board_world.control)
    assert done.exit_code == 0, done.output
    assert json.loads(done.output) == {"ok": True, "conditions": ["x"]}
    assert board_world.orders == [order]


@pytest.mark.parametrize("board_world", [{"ok": False, "error": "unknown condition 'weather'"}], indirect=True)
def test_what_the_board_refuses_is_said(board_world: World) -> None:
    done = driftd("set", "weather=1", "--control", board_world.control)
    assert (done.exit_code, done.output) == (EX_FAILED, "driftd: unknown condition 'weather'\n")


def test_without_a_board_it_says_how_to_start_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "ANSWER_MS", 100)
    done = driftd("set", "clear", "--control", "tcp://127.0.0.1:9")
    assert done.exit_code == EX_FAILED
    assert "no simulated board answers at tcp://127.0.0.1:9: start one with `driftd board`" in done.output


def test_without_a_command_the_board_runs_with_all_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[sim.BoardSettings] = []

    def run_board(settings: sim.BoardSettings, ready: Any) -> None:
        ran.append(settings)
        ready({"ipbus_port": settings.ipbus_port})

    monkeypatch.setattr(sim, "run_board", run_board)
    done = driftd(
        "--package", "a.driftd", "--package", "b.driftd", "--run", "7", "--seed", "3", "--ls-seconds", "0",
        "--condition", "ageing=0.3", "--zero-bias-prescale", "9", "--execution", "compiled", "--ipbus-port", "5",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert json.loads(done.output) == {"ipbus_port": 5}
    (settings,) = ran
    assert settings.packages == (Path("a.driftd"), Path("b.driftd"))
    assert (settings.run, settings.seed, settings.ls_seconds, settings.execution) == (7, 3, 0.0, "compiled")
    assert (settings.conditions, settings.sampling.prescale) == (("ageing=0.3",), 9)


def test_a_board_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    done = driftd("--package", str(tmp_path / "absent.driftd"), "--ipbus-port", "0")
    assert done.exit_code == EX_FAILED
    assert "absent.driftd" in done.output
