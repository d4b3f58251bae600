"""Which driver a URI gets."""

import sys
from pathlib import Path

import pytest

from firmware.board.axi import AxiBoard
from firmware.board.board import RemoteBoard
from firmware.board.drivers import driver
from firmware.board.uhal import UhalBoard
from firmware.errors import BoardError
from tests.support.rig import RUN, STREAM, Rig


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("ipbusudp-2.0://10.0.0.1:50001", UhalBoard),
        ("ipbustcp-2.0://10.0.0.1:50001", UhalBoard),
        ("chtcp-2.0://hub:10203?target=10.0.0.1:50001", UhalBoard),
        ("ipbusmmap-2.0:///dev/ipbus", UhalBoard),
        ("axi:///dev/uio0", AxiBoard),
    ],
)
def test_the_scheme_tells_the_kind(uri: str, kind: type) -> None:
    assert driver(uri) is kind


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("ipbusudp-2.0://", "is incomplete"),
        ("chtcp-2.0://hub:10203", "is incomplete, expected .*target=host:port"),
        ("axi://dev/uio0", "names no file, expected axi:///dev/"),
        ("ipbusmmap-2.0://", "names no file"),
        ("pigeon://roost", "'pigeon://roost' is of no known kind, expected one of ipbusudp-2.0://, .*axi://"),
        ("10.0.0.1:50001", "is of no known kind"),
    ],
)
def test_a_uri_that_leads_nowhere_is_refused(uri: str, message: str) -> None:
    with pytest.raises(BoardError, match=message):
        driver(uri)


def test_another_package_may_bring_a_kind_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package with an entry point is found, and drives its board from the process of its own."""
    (tmp_path / "roost.py").write_text(
        "from firmware.board.uhal import UhalBoard\n"
        "def pigeon(uri, address_table, timeout_ms, folder):\n"
        "    return UhalBoard(uri.replace('pigeon', 'ipbusudp-2.0'), address_table, timeout_ms, folder)\n"
    )
    info = tmp_path / "roost-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: roost\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[driftd.boards]\npigeon = roost:pigeon\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    rig = Rig()
    uri = "pigeon://{}:{}".format(*rig.server.address)
    board = RemoteBoard(driver(uri), uri, rig.table, 1000, None, deadline=10)
    assert board.state(STREAM).run == RUN
    board.close()
    rig.close()
    sys.modules.pop("roost")
    with pytest.raises(BoardError, match=r"axi://, ipbusmmap-2\.0://, pigeon://"):
        driver("dove://roost")
