"""What commands have in common: an error becomes an exit code and one line."""

import click
import pytest
import structlog
from click.testing import CliRunner

from firmware.errors import BoardError, FirmwareError, SpecificationError
from firmware.extras import MissingExtra
from monitor.cli.command import WorkCommand, drawn, numbers
from monitor.exits import EX_CONFIG, EX_DATA, EX_FAILED
from monitor.stats.errors import StatsError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FirmwareError("why"), EX_FAILED),
        (BoardError("why"), EX_FAILED),
        (MissingExtra("why"), EX_FAILED),
        (SpecificationError("why"), EX_CONFIG),
        (StatsError("why"), EX_DATA),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_an_error_of_a_package_ends_the_command_with_its_words(error: Exception, code: int) -> None:
    @click.command(cls=WorkCommand)
    def command() -> None:
        raise error

    done = CliRunner().invoke(command)
    assert (done.exit_code, done.output) == (code, "driftd: why\n")


def test_what_is_nobodys_error_is_not_hidden() -> None:
    @click.command(cls=WorkCommand)
    def command() -> None:
        raise ZeroDivisionError

    assert isinstance(CliRunner().invoke(command).exception, ZeroDivisionError)


def test_only_errors_are_logged_and_not_on_the_standard_output() -> None:
    @click.command(cls=WorkCommand)
    def command() -> None:
        structlog.get_logger().info("heard")
        structlog.get_logger().error("broken")

    done = CliRunner().invoke(command)
    assert done.stdout == ""
    assert "broken" in done.stderr
    assert "heard" not in done.stderr


def test_numbers_have_commas_between() -> None:
    assert numbers("1, 2.5,") == (1.0, 2.5)
    with pytest.raises(click.UsageError, match=r"'1;2' is not a list of numbers"):
        numbers("1;2")


def test_a_seed_that_is_given_is_kept() -> None:
    assert drawn(0) == 0
    assert 0 <= drawn(None) < 2**32
