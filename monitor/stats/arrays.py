"""The kinds of arrays that counts and probabilities are kept in."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
Array = NDArray[Any]
"""Numbers of any kind: score codes of 16 or 32 bits, float scores, columns of a file."""


def frozen(values: ArrayLike, dtype: Any) -> Array:
    """A read-only copy of `values`."""
    array = np.array(values, dtype=dtype)
    array.setflags(write=False)
    return array
