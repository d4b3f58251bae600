"""What `--help` says: every command in a line of its own, in words that are not cut off, and at once."""

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from monitor.cli.lazy import LazyGroup
from monitor.cli.main import main

WIDTH = 80
HEAVY = {"fastapi", "httpx", "monitor.config", "numpy", "pydantic", "rich", "scipy", "structlog", "torch", "zmq"}


def walk(command: click.Command, *names: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """A command and all below it, with the words that call them."""
    yield names, command
    for name, each in getattr(command, "commands", {}).items():
        yield from walk(each, *names, name)


COMMANDS = dict(walk(main))
GROUPS = {names: command for names, command in COMMANDS.items() if isinstance(command, click.Group)}


def helped(names: tuple[str, ...]) -> str:
    done = CliRunner().invoke(main, [*names, "--help"], terminal_width=WIDTH)
    assert done.exit_code == 0, done.output
    return done.output


def test_every_command_is_there() -> None:
    """As many as the documents speak of; `condition` is `board set` now."""
    assert len(main.commands) == 21
    assert ("board", "set") in COMMANDS
    assert ("condition",) not in COMMANDS


@pytest.mark.parametrize("names", GROUPS, ids=" ".join)
def test_no_line_of_a_list_of_commands_is_cut_off(names: tuple[str, ...]) -> None:
    said = helped(names).splitlines()
    assert all(len(line) <= WIDTH for line in said)
    for name, command in GROUPS[names].commands.items():
        (line,) = [line for line in said if line.startswith(f"  {name} ")]
        assert not line.endswith("..."), line
        assert line.split(maxsplit=1)[1] == command.get_short_help_str(200), "the first sentence, whole, in one line"


@pytest.mark.parametrize("names", [n for n, group in GROUPS.items() if isinstance(group, LazyGroup)], ids=" ".join)
def test_what_lists_a_command_is_the_first_sentence_of_its_own_help(names: tuple[str, ...]) -> None:
    group = GROUPS[names]
    assert isinstance(group, LazyGroup)
    listed = {name: text for section in group.sections.values() for name, (_, text) in section.items()}
    assert listed == {name: command.get_short_help_str(200) for name, command in group.commands.items()}


@pytest.mark.parametrize("names", COMMANDS, ids=" ".join)
def test_every_option_says_what_it_is(names: tuple[str, ...]) -> None:
    for option in COMMANDS[names].params:
        if isinstance(option, click.Option):
            assert option.help, option.name
            assert option.help[0].isupper(), option.help
            assert option.help.rstrip("]").endswith((".", ")")) or "[default: " in option.help, option.help


def test_help_and_the_operators_commands_load_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from monitor.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        f"print({HEAVY!r} & sys.modules.keys())"
    )
    for arguments in (["--help"], ["status"], ["freeze", "axol1tl", "--reason", "why"], ["bench", "--help"]):
        command = [sys.executable, "-c", code, *arguments]
        if "--help" not in arguments:
            command += ["--url", "http://127.0.0.1:9"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "set()", arguments
