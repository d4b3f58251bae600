"""The arrays that all of the recalibration passes on."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

Events = NDArray[np.integer]
"""Inputs as the firmware has them, hardware integers (n, n_features)."""

TINY = 1e-12
"""Keeps a division by what may be nothing finite; far below any share or spread that occurs."""
