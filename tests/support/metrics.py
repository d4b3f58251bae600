"""What the daemon's metrics are called, read off the code, and what a query asks for that is not there."""

import re
from typing import get_args
from unittest.mock import MagicMock

from prometheus_client import CollectorRegistry

from monitor.daemon.http.metrics import ENDINGS, MESSAGES, OPERATIONS, PROPOSALS, DaemonCollector, fit_seconds
from monitor.loop.states import Mode, Phase
from monitor.terms import Level

WORDS = {"phase": set(Phase), "mode": set(Mode), "level": set(get_args(Level)), "operation": set(OPERATIONS)}
"""By label: what the code can put there."""
OF_METRIC = {
    ("driftd_proposals_total", "outcome"): set(PROPOSALS),
    ("driftd_operation_errors_total", "outcome"): set(ENDINGS),
}
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def names() -> set[str]:
    """Of every metric, as a daemon without streams and boards declares them, which is all of them."""
    registry = CollectorRegistry()
    fit_seconds(registry)
    reached = MagicMock(**{"overview.memory.return_value": {}})
    families = [*registry.collect(), *DaemonCollector(reached, lambda: {"written": 0}).collect()]
    assert {f"driftd_messages_{field}" for field in MESSAGES} <= {family.name for family in families}
    return {family.name + suffix for family in families for suffix in SUFFIXES[family.type]}


def unknown(query: str, known: set[str]) -> list[str]:
    """The metrics of a query that are not among ``known``, and the values of labels that the code never gives."""
    asked = re.findall(r"\b(driftd_\w+)(?:\{([^}]*)\})?", query)
    found = [metric for metric, _ in asked if metric not in known]
    for metric, selector in asked:
        for label, values in re.findall(r'(\w+)=~?"([^"]*)"', selector):
            there = OF_METRIC.get((metric, label), WORDS.get(label))
            found += [f"{metric} {label}={value}" for value in values.split("|") if there and value not in there]
    return found
