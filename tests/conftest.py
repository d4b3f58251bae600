"""What all tests share: a missing system part is a skip on a bare machine and a failure where all must run."""

import os
from collections.abc import Generator
from typing import Any

import pytest
import structlog


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
