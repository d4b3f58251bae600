from threading import Thread
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from recalib.errors import SampleError
from recalib.sample import EventSample, Reservoir, Sampler

TAIL_CODE = 900

Array = NDArray[Any]


def message(random: np.random.Generator, n: int = 2000, prescale: int = 10) -> tuple[Array, Array, Array]:
    """What a board publishes of n crossings with codes 0 … 999: a tail in full, a tenth of the rest."""
    codes = random.integers(0, 1000, n).astype(np.uint32)
    tail = codes > TAIL_CODE
    kept = tail | (random.random(n) < 1 / prescale)
    events = np.stack([codes, codes + 1], axis=1).astype(np.int16)
    return events[kept], np.where(tail, 1, 1 / prescale)[kept].astype(np.float32), codes[kept]


def filled(seed: int, capacity: int, messages: int = 30) -> EventSample:
    random = np.random.default_rng(seed)
    sampler = Sampler(capacity, seed)
    for i in range(messages):
        sampler.add(*message(random), ls=1 + i // 10, generation=0, epoch=1)
    return sampler.sample(range(0, 1), 1)


def test_weighted_sums_are_unbiased_though_the_reservoirs_overflow() -> None:
    """Totals in the tail, in the bulk and of the codes, over many fills, within four standard errors."""
    crossings = 30 * 2000
    truth = np.array([crossings * 0.099, crossings * 0.5, crossings * 499.5])
    found = []
    for seed in range(60):
        sample = filled(seed, capacity=4000)
        w, codes = sample.weights, sample.codes
        found.append([w[codes > TAIL_CODE].sum(), w[codes < 500].sum(), (w * codes).sum()])
    assert sample.inclusion.min() < 0.1, "the reservoirs did not overflow: the test shows nothing"
    means, errors = np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(len(found))
    assert (np.abs(means - truth) < 4 * errors).all()


def test_memory_is_bounded_and_the_newest_lumi_sections_stay() -> None:
    random = np.random.default_rng(1)
    sampler = Sampler(capacity=3000)
    for ls in range(1, 101):
        sampler.add(*message(random), ls=ls, generation=0, epoch=1)
        assert sampler.count(range(0, 1), 1) <= 3000
    sample = sampler.sample(range(0, 1), 1)
    assert len(sample) == sampler.count(range(0, 1), 1) > 1500
    assert sample.ls.max() == 100
    assert sample.ls.min() > 90


def test_a_sample_holds_one_generation_of_one_boot_from_the_onset_on() -> None:
    random = np.random.default_rng(1)
    sampler = Sampler()
    for run, ls, generation, epoch in ((1, 8, 0, 5), (1, 9, 0, 5), (2, 1, 0, 5), (2, 2, 1, 5), (2, 2, 1, 6)):
        sampler.add(*message(random), ls=ls, generation=generation, epoch=epoch, run=run)
    assert set(sampler.sample(range(0, 1), 5, since=(1, 9)).ls.tolist()) == {9, 1}
    assert set(sampler.sample(range(1, 2), 5).ls.tolist()) == {2}
    assert sampler.sample(range(1, 2), 5).generation == 1
    assert set(sampler.sample(range(0, 2), 5, since=(1, 9)).ls.tolist()) == {9, 1, 2}
    assert len(sampler.sample(range(3, 4), 5)) == sampler.count(range(3, 4), 5) == 0


def test_reservoir_keeps_every_row_with_the_same_probability() -> None:
    hits = np.zeros(100)
    for seed in range(2000):
        reservoir = Reservoir(20, np.random.default_rng(seed))
        for rows in np.split(np.arange(100), [7, 30, 31]):
            reservoir.add(rows)
        hits[reservoir.columns()[0]] += 1
    assert reservoir.kept == 0.2
    assert (np.abs(hits / 2000 - 0.2) < 5 * np.sqrt(0.2 * 0.8 / 2000)).all()


def test_split_is_disjoint_complete_and_the_same_for_a_seed() -> None:
    n = 1003
    codes = np.arange(n, dtype=np.uint32)
    sample = EventSample(
        np.zeros((n, 2), np.int16), np.full(n, 0.5, np.float32), codes, np.ones(n, np.int64), generation=0
    )
    parts = sample.split(4)
    assert [round(len(part) / n, 2) for part in parts] == [0.5, 0.25, 0.25]
    np.testing.assert_array_equal(np.sort(np.concatenate([part.codes for part in parts])), codes)
    np.testing.assert_array_equal(parts.gates.codes, sample.split(4).gates.codes)
    assert not np.array_equal(parts.gates.codes, sample.split(5).gates.codes)


def test_effective_size_counts_unequal_weights_less() -> None:
    inclusion = np.array([1, 1, 0.01], np.float32)
    one = EventSample(np.zeros((3, 1), np.int16), inclusion, np.zeros(3, np.uint32), np.ones(3, np.int64), 0)
    assert one.n_eff == pytest.approx(102**2 / 10002)


@pytest.mark.parametrize("inclusion", [[0.0, 1.0], [1.5, 1.0], [np.nan, 1.0], [1.0]])
def test_inclusion_that_is_no_probability_or_of_another_length_is_refused(inclusion: list[float]) -> None:
    with pytest.raises(SampleError):
        EventSample(
            np.zeros((2, 3), np.int16),
            np.array(inclusion, np.float32),
            np.zeros(2, np.uint32),
            np.ones(2, np.int64),
            generation=0,
        )


def test_receiver_may_add_while_another_thread_samples() -> None:
    sampler = Sampler(capacity=5000)

    def receive() -> None:
        random = np.random.default_rng(2)
        for i in range(300):
            sampler.add(*message(random, 200), ls=i, generation=0, epoch=1)

    receiver = Thread(target=receive)
    receiver.start()
    while receiver.is_alive():
        sample = sampler.sample(range(0, 1), 1)
        np.testing.assert_array_equal(sample.events[:, 0] if len(sample) else [], sample.codes)
    receiver.join()


def test_a_lumi_section_leaves_the_memory_as_a_whole() -> None:
    """A section without its tail would pull every rate down."""
    sampler = Sampler(capacity=890)
    bulk, tail = (np.arange(100), np.full(100, 0.5)), (np.arange(10_000, 10_030), np.ones(30))
    for ls in range(1, 10):
        for codes, inclusion in (tail, bulk):
            sampler.add(codes[:, None], inclusion, codes, ls=ls, generation=1, epoch=1)
        sample = sampler.sample(range(1, 2), 1)
        hard = sample.codes >= 10_000
        assert set(sample.ls[hard].tolist()) == set(sample.ls[~hard].tolist())
