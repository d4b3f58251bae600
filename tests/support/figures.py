"""What a figure says."""

from typing import Any

from matplotlib.figure import Figure


def texts(figure: Figure) -> str:
    """Titles, labels, legends and texts of all axes, a line each."""
    found: list[Any] = [figure.get_suptitle()]
    for axes in figure.axes:
        legend = axes.get_legend()
        found += [axes.get_xlabel(), axes.get_ylabel(), *(text.get_text() for text in axes.texts)]
        found += [text.get_text() for text in legend.get_texts()] if legend else []
    return "\n".join(found)
