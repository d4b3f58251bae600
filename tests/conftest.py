"""What all tests share.

A missing system part is a skip on a bare machine and a failure where all must run. Slow tests come first.
"""

import os
from collections.abc import Generator
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

# A property holds however busy the machine is: 200 ms an example are missed beside other work.
settings.register_profile("whatever the load", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("whatever the load")

SLOW = ("tests/system/", "tests/recalib/", "tests/monitor/bench/", "tests/monitor/watch/", "tests/firmware/")
"""Slowest first. Files are dealt out whole, so what comes last should be small: then no worker waits for another."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: [item.nodeid.startswith(folder) for folder in SLOW], reverse=True)


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Generator[None, None, None]:
    """A command that configures the logs does so for itself."""
    yield
    structlog.reset_defaults()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("DRIFTD_REQUIRE_ALL"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped where every test must run: {report.longrepr}"
    return report
