"""What systemd would hear: datagrams on a real socket, of a path or of an abstract name."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.daemon.systemd import Notifier


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@driftd-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind("\0" + name[1:] if name.startswith("@") else name)
        link.settimeout(2)
        yield name, link


def test_fields_arrive_in_one_datagram_and_a_value_stays_one_line(systemd: tuple[str, socket.socket]) -> None:
    name, link = systemd
    Notifier({"NOTIFY_SOCKET": name}).tell(READY=1, STATUS="two\nlines")
    assert link.recv(4096) == b"READY=1\nSTATUS=two lines"


def test_without_systemd_or_with_one_that_is_gone_nothing_is_said_and_nothing_breaks(tmp_path: Path) -> None:
    Notifier({}).tell(READY=1)
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).tell(READY=1)


def test_a_systemd_that_does_not_listen_never_makes_the_daemon_wait(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind(path)
        notifier = Notifier({"NOTIFY_SOCKET": path})
        for _ in range(2000):
            notifier.tell(WATCHDOG=1)


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_that_of_this_process_alone(environment: dict[str, str], seconds: float | None) -> None:
    assert Notifier(environment).watchdog_s == seconds
