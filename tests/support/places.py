"""Folders that tests read: the checkout, and the data from outside it."""

from pathlib import Path

from monitor.bench.outside import outside

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DASHBOARDS = ROOT / "dashboards"
DATA = outside() / "data"
SCHEMAS = outside() / "schemas"
