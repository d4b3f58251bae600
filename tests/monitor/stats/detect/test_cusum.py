"""CUSUM over the named drifts."""

import numpy as np

from monitor.stats.count.expected import Expected
from monitor.stats.detect.edetector import EDetector
from tests.support.detection import GAIN, P, cusum


def test_the_largest_bet_names_the_drift() -> None:
    detector = cusum(target_run_length=1e6)
    for _ in range(5):
        detector.update(10**4 * GAIN, Expected.known(P))
    assert str(detector.largest).startswith("gain +")


def test_cusum_never_has_more_evidence_than_the_sum_over_all_onsets() -> None:
    tilts, most = cusum(target_run_length=1e6), 0.0
    whole = EDetector([type(tilts.banks[0])(tilts.banks[0].tilts, 0.0)], 1e6, 0.0)  # type: ignore[attr-defined, call-arg]
    for counts in np.random.default_rng(3).multinomial(500, P, size=200):
        tilts.update(counts, Expected.known(P))
        whole.update(counts, Expected.known(P))
        assert tilts.statistic <= whole.statistic
        most = max(most, tilts.statistic)
    assert most > 5
