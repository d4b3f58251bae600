"""What a window should look like where a knob leaves p(s) changed."""

import numpy as np

from tests.support.references import REFERENCE


def test_a_predicted_ratio_moves_bins_and_leaves_the_shares_of_their_cells() -> None:
    base = REFERENCE.expected(20.0, error=0.1)
    ratio = np.linspace(0.8, 1.2, len(base.p))
    moved = base.times(ratio, m=base.m)
    np.testing.assert_allclose(moved.p, base.p * ratio / (base.p * ratio).sum())
    within = base.cells / np.repeat(base.p, np.diff(np.append(base.first, len(base.cells))))
    np.testing.assert_allclose(
        moved.cells / np.repeat(moved.p, np.diff(np.append(base.first, len(base.cells)))), within
    )
    np.testing.assert_allclose(moved.nearby.sum(axis=1), 1)
    assert moved.m == base.m / 2
