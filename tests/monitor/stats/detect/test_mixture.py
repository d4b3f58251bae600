"""The e-detector of any change of shape finds what has a name, what has none, and single codes."""

from math import inf, log

import numpy as np

from monitor.stats.count.expected import Expected
from monitor.stats.detect.mixture import EMixture
from tests.support.detection import BINNING, GAIN, P, mixture


def test_drifts_are_found_within_a_few_times_the_information_bound() -> None:
    kl, promised = float((GAIN * np.log(GAIN / P)).sum()), 1e6
    delays = []
    for seed in range(20):
        rng, detector, block = np.random.default_rng(seed), mixture(target_run_length=promised), 0
        expected = Expected.known(P)
        while not detector.drift_detected:
            detector.update(rng.multinomial(250, P if block < 40 else GAIN), expected)
            block += 1
        delays.append(250 * (block - 40))
    assert min(delays) > 0
    assert np.mean(delays) < 2.5 * log(promised * kl) / kl


def test_a_shape_without_a_name_is_told_by_how_far_it_goes() -> None:
    detector = mixture(target_run_length=1e6)
    wave = P * np.exp(0.2 * np.sin(9 * np.cumsum(P)))
    for _ in range(40):
        detector.update(1000 * wave / wave.sum(), Expected.known(P))
    assert detector.drift_detected
    assert str(detector.largest).startswith("shape changed by up to × 1.")


def cellular() -> tuple[Expected, EMixture]:
    """Cells of which twenty divide each bin, and a detector that sees them."""
    cells = np.repeat(P / 20, 20)
    expected = Expected(P, inf, cells, np.arange(0, len(cells), 20), cells[None][:0])
    return expected, EMixture(BINNING, P, cells, target_run_length=1e6)


def test_a_stuck_code_is_found_in_its_cell_long_before_it_shows_in_its_bin() -> None:
    expected, fine = cellular()
    coarse = mixture(target_run_length=1e6)
    truth = 0.99 * expected.cells
    truth[107] += 0.01
    rng = np.random.default_rng(1)
    blocks = 0
    while not fine.drift_detected:
        counts = rng.multinomial(250, truth)
        fine.update(counts, expected)
        coarse.update(expected.bins(counts), Expected.known(P))
        blocks += 1
    assert blocks < 40
    assert not coarse.drift_detected
    assert fine.largest.direction.values[107] == 1


def test_missing_codes_are_found_too() -> None:
    expected, detector = cellular()
    truth = expected.cells.copy()
    truth[65] = 0
    rng = np.random.default_rng(1)
    while not detector.drift_detected:
        detector.update(rng.multinomial(250, truth / truth.sum()), expected)
    assert detector.largest.direction.values[65] == 1
    assert detector.largest.amplitude < 0


def test_cells_keep_the_promise_too() -> None:
    expected, detector = cellular()
    detector.threshold = log(1e4)
    found = 0
    for counts in np.random.default_rng(8).multinomial(250, expected.cells, size=8_000):
        detector.update(counts, expected)
        if detector.drift_detected:
            found += 1
            detector.reset()
    assert 20 < found < 1.05 * 200
