from typing import Any

from numpy.typing import NDArray

def add(
    scores: NDArray[Any], lanes: NDArray[Any], cell_of: NDArray[Any], runs: NDArray[Any], period: int, lsb: float, /
) -> bool: ...
