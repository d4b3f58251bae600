"""Scores to score codes, and what a code may be."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monitor.stats.arrays import IntArray
from monitor.stats.errors import StatsError

MAX_BITS = 24
"""Widest score code: a table of all codes is held in memory."""


def to_codes(scores: ArrayLike, lsb: float, bits: int) -> IntArray:
    """Float scores as score codes, code = round(score / lsb).

    Raises:
        StatsError: naming the first bad index, on NaN, negative or too large scores.

    Examples:
        >>> to_codes([0.0, 0.0625, 2.5], lsb=1 / 16, bits=18).tolist()
        [0, 1, 40]
    """
    values = np.asarray(scores, dtype=np.float64)
    codes = np.rint(values / lsb)
    bad = ~((codes >= 0) & (codes < 2.0**bits))
    if bad.any():
        i = int(np.argmax(bad))
        raise StatsError(f"score [{i}] is {values.flat[i]}: expected from 0 to below {2**bits * lsb:g}")
    return codes.astype(np.int64)


def code_histogram(codes: ArrayLike, bits: int) -> IntArray:
    """Events per score code, (2^bits,)."""
    return np.bincount(as_codes(codes, bits), minlength=1 << bits)


def as_codes(codes: ArrayLike, bits: int) -> NDArray[Any]:
    """`codes` as a flat integer array, 0 <= code < 2^bits; anything else is a StatsError."""
    array = np.asarray(codes)
    if array.dtype.kind not in "ui":
        raise StatsError(f"score codes have dtype {array.dtype}: expected integers (to_codes makes them)")
    if array.dtype.kind == "i" and array.size and int(array.min()) < 0:
        raise StatsError(f"score code {array.min()} is negative: expected codes from 0")
    if array.size and int(array.max()) >= 1 << bits:
        raise StatsError(f"score code {array.max()} does not fit into {bits} bits")
    return array.ravel()


def check_cut(cut: int, bits: int) -> int:
    """`cut` as an int, a StatsError if no code of `bits` bits can lie on both of its sides."""
    if cut != cut or cut != int(cut) or not 1 <= cut < 1 << bits:
        raise StatsError(f"cut {cut} is out of range: expected a score code from 1 to {(1 << bits) - 1}")
    return int(cut)
