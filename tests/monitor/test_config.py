"""The configuration: defaults that work, and every fault named at once."""

import re
import tomllib
from pathlib import Path

import pytest

from monitor.config import Config, ConfigError, load
from monitor.loop.states import Mode
from tests.support.places import ROOT

SHIPPED = ROOT / "config.toml"

SMALL = """
[boards.gt]
uri = "ipbusudp-2.0://127.0.0.1:50001"
[streams.axol1tl]
package = "axol1tl.driftd"
board = "gt"
addresses = ["tcp://127.0.0.1:5555"]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text)
    return path


def test_the_shipped_file_is_valid_and_names_the_defaults_it_shows() -> None:
    config = load(SHIPPED)
    assert config == load(SHIPPED)
    shown = tomllib.loads(SHIPPED.read_text())
    for section in ("detect", "recalibrate", "push"):
        defaults = type(getattr(config.streams["axol1tl"], section))()
        for key, value in shown["streams"]["axol1tl"][section].items():
            given = getattr(defaults, key)
            assert value == (list(given) if isinstance(given, tuple) else given), f"{section}.{key}"


def test_the_second_stream_that_the_shipped_file_shows_is_valid_once_it_is_switched_on(tmp_path: Path) -> None:
    text = SHIPPED.read_text()
    section = text[text.index("# [streams.cicada]") :]
    config = load(written(tmp_path, text.replace(section, re.sub(r"^# ?", "", section, flags=re.MULTILINE))))
    assert set(config.streams) == {"axol1tl", "cicada"}
    assert config.streams["cicada"].board == config.streams["axol1tl"].board
    assert config.streams["cicada"].recalibrate.memory_events == 60_000


def test_what_is_left_out_takes_its_default(tmp_path: Path) -> None:
    stream = load(written(tmp_path, SMALL)).streams["axol1tl"]
    assert stream.mode is Mode.AUTO
    assert stream.hold == "distribution"


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    config = load(written(tmp_path, SMALL))
    assert config.streams["axol1tl"].package == tmp_path / "axol1tl.driftd"
    assert config.state_dir == tmp_path / "var"


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    text = SMALL.replace("ipbusudp-2.0", "http").replace('"axol1tl.driftd"', "7").replace("tcp://", "carrier-pigeon://")
    text += 'mode = "yolo"\nspeed = 3\n[streams.axol1tl.push]\narm_margin_ls = 1\n'
    text += '[streams.axol1tl.recalibrate]\nknobs = ["voodoo"]\n'
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, text))
    said = "\n".join(caught.value.faults)
    places = ("boards.gt.uri", "package", "addresses", "mode", "speed", "push.arm_margin_ls", "knobs")
    assert [place for place in places if place not in said] == []


def test_a_board_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no board 'hgcal'; there is gt"):
        load(written(tmp_path, SMALL.replace('board = "gt"', 'board = "hgcal"')))


def test_a_stream_may_be_on_several_boards(tmp_path: Path) -> None:
    text = SMALL.replace('board = "gt"', 'board = ["gt", "spare"]')
    text += '[boards.spare]\nuri = "axi:///dev/uio0"\n'
    assert load(written(tmp_path, text)).streams["axol1tl"].board == ("gt", "spare")
    assert load(written(tmp_path, SMALL)).streams["axol1tl"].board == ("gt",)
    with pytest.raises(ConfigError, match=r"no board 'other'; there is gt, spare"):
        load(written(tmp_path, text.replace('"spare"]', '"other"]')))
    with pytest.raises(ConfigError, match=r"streams\.axol1tl\.board: names a board twice: gt, gt"):
        load(written(tmp_path, text.replace('"spare"]', '"gt"]')))


@pytest.mark.parametrize("uri", ["axi:///dev/uio0?offset=4096", "ipbusmmap-2.0:///dev/x", "chtcp-2.0://h:1?target=b:2"])
def test_every_kind_of_board_can_be_named(tmp_path: Path, uri: str) -> None:
    text = re.sub(r'uri = "[^"]*"', f'uri = "{uri}"', SMALL)
    assert load(written(tmp_path, text)).boards["gt"].uri == uri


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, "cannot be read"), ("a = = 3", "is not TOML"), ("", "boards"), ('streams = "x"', "streams")],
)
def test_a_file_that_cannot_be_used_is_an_error_that_says_why(tmp_path: Path, text: str | None, expected: str) -> None:
    path = written(tmp_path, text) if text is not None else tmp_path / "missing.toml"
    with pytest.raises(ConfigError, match=expected):
        load(path)


def test_the_configuration_cannot_be_changed(tmp_path: Path) -> None:
    config: Config = load(written(tmp_path, SMALL))
    with pytest.raises(ValueError, match="frozen"):
        config.http.port = 1  # type: ignore[misc]
