"""Counting: each score once into its cell, compiled or not, and nothing at all of what has no cell."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from monitor.stats.count import counting
from monitor.stats.count.counting import Crossings, add, empty

Array = NDArray[Any]
CELLS = 40
PERIOD = 60


@pytest.fixture(params=["compiled", "numpy"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Count in both ways."""
    if request.param == "numpy":
        monkeypatch.setattr(counting, "kernel", None)
    elif counting.kernel is None:
        pytest.skip("the kernel was not compiled: install with a C compiler")


def table(bits: int, seed: int = 1) -> NDArray[np.uint16]:
    return np.sort(np.random.default_rng(seed).integers(0, CELLS, 1 << bits)).astype(np.uint16)


def unaligned(array: Array) -> Array:
    """The same numbers at an odd address, as in a frame."""
    return np.frombuffer(memoryview(b"x" + array.tobytes())[1:], array.dtype)


@st.composite
def counted(draw: st.DrawFn) -> tuple[Array, int, Array | None]:
    """Scores of whole orbits in any type, most of them in range; bits of the codes; a bunch mask."""
    bits = draw(st.integers(4, 18))
    dtype = draw(st.sampled_from(["u2", "u4", "f4"]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    orbits = draw(st.integers(0, 6))
    scores = random.integers(0, 1 << min(bits, 16), orbits * PERIOD).astype(dtype)
    if dtype == "f4":
        scores += random.uniform(-0.5, 0.5, len(scores)).astype("f4")
    if len(scores) and draw(st.booleans()):
        wild = {"u2": [2**16 - 1], "u4": [2**31, 2**32 - 1], "f4": [np.nan, np.inf, -np.inf, -1.0, 3e38]}[dtype]
        scores[draw(st.integers(0, len(scores) - 1))] = draw(st.sampled_from([*wild, (1 << min(bits, 16)) - 1]))
    mask = draw(st.none() | st.just(random.random(PERIOD) < draw(st.sampled_from([0.0, 0.5, 0.9, 1.0]))))
    return scores, bits, mask


@settings(deadline=None)
@given(counted())
def test_both_ways_count_the_same_or_refuse_the_same(given: tuple[Array, int, Array | None]) -> None:
    scores, bits, mask = given
    chosen = scores if mask is None else scores[np.tile(mask, len(scores) // PERIOD)]
    crossings = None if mask is None else Crossings(mask)
    codes = np.rint(chosen.astype(np.float64))
    sound = bool(((codes >= 0) & (codes < 1 << bits)).all())
    cell_of = table(bits)
    expected = np.bincount(cell_of[codes.astype(np.int64)], minlength=CELLS) if sound else np.zeros(CELLS, np.int64)
    for kernel in {counting.kernel, None}:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(counting, "kernel", kernel)
            for array in (scores, unaligned(scores)):
                lanes = empty(CELLS)
                assert add(array, lanes, cell_of, crossings) == sound
                np.testing.assert_array_equal(lanes.sum(axis=0), expected)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("lsb", [1 / 16, 0.1, 3e-3])
def test_float_scores_have_the_nearest_code_and_of_two_the_even_one(lsb: float) -> None:
    codes = np.array([0, 0, 2, 2, 4, 4, 15], np.float64)
    scores = (lsb * (codes + np.array([0, 0.49, -0.49, 0.4, 0.3, -0.3, 0.4]))).astype("f4")
    lanes = empty(16)
    assert add(scores, lanes, np.arange(16, dtype=np.uint16), lsb=lsb)
    np.testing.assert_array_equal(lanes.sum(axis=0), np.bincount(codes.astype(np.int64), minlength=16))
    halves = empty(16)
    assert add(np.array([0.5, 1.5, 2.5, -0.5], "f4"), halves, np.arange(16, dtype=np.uint16))
    assert halves.sum(axis=0)[:4].tolist() == [2, 0, 2, 0]


@pytest.mark.usefixtures("way")
def test_refused_scores_leave_earlier_counts_as_they_were() -> None:
    lanes = empty(CELLS)
    sound = np.arange(256, dtype=np.uint16)
    assert add(sound, lanes, table(8))
    before = lanes.sum(axis=0)
    assert not add(np.append(sound, np.uint16(256)), lanes, table(8))
    np.testing.assert_array_equal(lanes.sum(axis=0), before)


@pytest.mark.usefixtures("way")
def test_what_does_not_collide_may_hold_anything() -> None:
    lanes = empty(CELLS)
    scores = np.array([3, 60_000] * 3, np.uint16)
    assert add(scores, lanes, table(8), Crossings([True, False]))
    assert lanes.sum() == 3


def test_the_kernel_refuses_what_it_cannot_count() -> None:
    if counting.kernel is None:
        pytest.skip("the kernel was not compiled: install with a C compiler")
    with pytest.raises(TypeError, match="format d: expected H, I or f"):
        add(np.zeros(3), empty(CELLS), table(8))
    with pytest.raises(ValueError, match="whole periods"):
        add(np.zeros(3, np.uint16), empty(CELLS), table(8), Crossings([True, False]))
    with pytest.raises(ValueError, match=r"2\^bits"):
        add(np.zeros(3, np.uint16), empty(CELLS), table(8)[:-1])
