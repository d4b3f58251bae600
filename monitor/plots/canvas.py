"""What plots are drawn with: matplotlib, where it is installed, without a screen."""

from __future__ import annotations

from typing import Any

from firmware.extras import needed


def pyplot() -> Any:
    """matplotlib's pyplot, which draws into files alone.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    with needed("plots"):
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot as found
    return found
