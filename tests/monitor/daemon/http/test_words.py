"""The page's words are the daemon's: nothing that the daemon names is written a second time in JavaScript."""

import json
import re
from importlib.resources import files
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from monitor.daemon.http import sse, words
from monitor.daemon.http.commands import REASON_CHARACTERS, Reason
from monitor.daemon.http.tokens import Role
from monitor.daemon.http.views import ROLES
from monitor.loop.states import Mode, Phase
from monitor.store.kinds import ANNOUNCEMENT
from monitor.terms import Level

SCRIPTS = {
    file.name: file.read_text()
    for file in (files("monitor.daemon.http") / "web").iterdir()
    if file.name.endswith(".js")
}
COMMANDS = [order.word() for order in ROLES]


def exported() -> dict[str, Any]:
    """What the module exports, by name."""
    found = re.findall(r"^export const (\w+) = (.*);$", words.module(), re.MULTILINE)
    return {name: json.loads(value) for name, value in found}


def test_each_word_of_the_daemon_is_there() -> None:
    there = exported()
    assert list(there["Phase"].values()) == list(Phase)
    assert list(there["Mode"].values()) == list(Mode)
    assert set(there["Level"].values()) == set(get_args(Level))
    assert set(there["Sent"].values()) == set(get_args(sse.Name))
    assert list(there["Command"].values()) == COMMANDS
    assert set(there["AFTER_GATES"]) == set(Mode)


def test_the_steps_of_a_recalibration_follow_the_order_of_the_phases() -> None:
    assert list(words.STEPS) == [phase for phase in Phase if phase in words.STEPS]
    assert all(step.title and step.doing for step in words.STEPS.values())


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_names_only_words_that_there_are(script: str) -> None:
    """JavaScript takes a misspelt member for undefined, and says nothing."""
    there = exported()
    for group, member in re.findall(r"\b(Phase|Mode|Level|Command|Sent)\.(\w+)", SCRIPTS[script]):
        assert member in there[group], f"{group}.{member}"


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_script_compares_with_a_word_of_its_own(script: str) -> None:
    known = {*Phase, *Mode, *Role, *get_args(Level), *get_args(sse.Name), *COMMANDS, ANNOUNCEMENT}
    compared = re.findall(r'(?:[=!]==|\bcase|includes\(|indexOf\()\s*"([^"]*)"', SCRIPTS[script])
    compared += re.findall(r'"([^"]*)"\s*[=!]==', SCRIPTS[script])
    assert not known & set(compared)


def test_the_page_uses_all_that_is_made_for_it() -> None:
    imported = {
        name.strip()
        for script in SCRIPTS.values()
        for names in re.findall(r'import \{([^}]*)\} from "\./words\.js"', script)
        for name in names.split(",")
    }
    assert imported == set(exported())


@pytest.mark.parametrize(("characters", "taken"), [(-1, False), (0, True), (1, True)])
def test_the_least_reason_is_what_a_command_takes(characters: int, taken: bool) -> None:
    assert takes(REASON_CHARACTERS[0] + characters) is taken


@pytest.mark.parametrize(("characters", "taken"), [(-1, True), (0, True), (1, False)])
def test_the_longest_reason_is_what_a_command_takes(characters: int, taken: bool) -> None:
    assert takes(REASON_CHARACTERS[1] + characters) is taken


def takes(characters: int) -> bool:
    """Whether a command takes a reason of this length."""
    try:
        TypeAdapter(Reason).validate_python("x" * characters)
    except ValidationError:
        return False
    return True
