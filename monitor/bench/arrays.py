"""The arrays that the benches pass on, beside those of the recalibration."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

Codes = NDArray[np.integer]
"""Score codes (n,)."""
