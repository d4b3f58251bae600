"""A group that imports a command when it is called."""

import click
import pytest
from click.testing import CliRunner

from monitor.cli.lazy import LazyCommands, LazyGroup

SECTIONS = {
    "One": {"module": ("nowhere.at.all:absent", "Say one."), "m": ("tests.monitor.cli.test_lazy:small", "Say two.")},
    "Two": {"other": ("tests.monitor.cli.test_lazy:small", "Say three.")},
}


@click.command()
def small() -> None:
    """Say two."""
    click.echo("two")


@click.group(cls=LazyGroup, sections=SECTIONS)
def group() -> None:
    """Be a group."""


def test_the_list_imports_nothing_and_keeps_its_order() -> None:
    said = CliRunner().invoke(group, ["--help"])
    assert said.exit_code == 0, said.output
    assert said.output.split("One:")[1].split() == [
        "module", "Say", "one.", "m", "Say", "two.", "Two:", "other", "Say", "three.",
    ]  # fmt: skip


def test_a_command_is_imported_when_it_is_called() -> None:
    assert CliRunner().invoke(group, ["m"]).output == "two\n"
    assert isinstance(CliRunner().invoke(group, ["module"]).exception, ModuleNotFoundError)


def test_a_command_that_is_not_listed_is_none() -> None:
    assert "No such command 'absent'" in CliRunner().invoke(group, ["absent"]).output


def test_commands_can_be_added_and_taken_out() -> None:
    commands = LazyCommands({"a": "nowhere:a"})
    commands["b"] = small
    assert (list(commands), len(commands), commands["b"]) == (["a", "b"], 2, small)
    del commands["a"]
    assert list(commands) == ["b"]
    with pytest.raises(KeyError):
        commands["a"]
