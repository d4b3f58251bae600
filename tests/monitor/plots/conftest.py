"""What is drawn is looked at before it is closed."""

from collections.abc import Iterator

import matplotlib
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

matplotlib.use("Agg")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Figure]]:
    """The figures that were saved, still open."""
    figures: list[Figure] = []
    monkeypatch.setattr(plt, "close", figures.append)
    yield figures
    monkeypatch.undo()
    plt.close("all")
