"""Scores as a trigger would publish them, made up: what the daemon's speed is measured with."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgpack
import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from firmware.wire import CROSSINGS, Batch, Header, encode
from monitor.stats.count.building import reference_of_sample
from monitor.stats.count.reference import Reference

BITS = {"u2": 16, "u4": 18}
"""Of the score codes; each type is a stream, of its own name."""
ORBITS_PER_LS = 1 << 13
ORBIT_NS = 88_925
PILEUPS = (52.0, 50.5, 48.25, 46.0)
"""Of the lumi sections in turn."""
SLICES = {41.0: 30.0, 48.5: 47.0, 57.0: 50.0}
"""Mean pile-up of the reference's slices, and where each begins."""
CUT_RATES = (0.03, 0.01, 0.003, 0.001, 0.0003)
POOL = 36
"""Orbits of different scores, which are sent over and over."""
EVENTS, WIDTH, ORBITS_PER_EVENTS = 32, 57, 90
"""A block of so many events every so many orbits."""
MASK = (np.arange(CROSSINGS) % 79 < 60) & (np.arange(CROSSINGS) < 3318)
"""2520 bunches in trains."""


def scores(n: int, bits: int, pileup: float, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """(n,) codes at equal shares of a log-normal whose median goes with the pile-up, in random order."""
    rank = (random.permutation(n) + 0.5) / n
    codes = np.minimum(pileup * 2.0 ** (bits - 14) * np.exp(0.8 * ndtri(rank)), 2**bits - 1)
    return np.asarray(codes.astype(np.int64))


def reference(dtype: str) -> Reference:
    """What the scores of `run_of` should be like."""
    random = np.random.default_rng(1)
    return reference_of_sample(
        [(scores(400_000, BITS[dtype], pileup, random), None, pileup) for pileup in SLICES],
        target_rates=CUT_RATES,
        bits=BITS[dtype],
        pileup_edges=[*SLICES.values(), 70.0],
    )


def run_of(dtype: str, per_message: int, orbits: int, run: int) -> Iterator[list[bytes]]:
    """The frames of one source's run: its begin, messages of so many whole orbits, its end."""
    random = np.random.default_rng(run)
    pools = [_pool(dtype, per_message, pileup, random) for pileup in PILEUPS]
    events = [
        random.integers(0, 256, (EVENTS, WIDTH)).astype("<i2").tobytes(),
        np.sort(random.choice(CROSSINGS, EVENTS, replace=False)).astype("<u4").tobytes(),
        np.full(EVENTS, 0.01, "<f4").tobytes(),
    ]
    header = Header(
        kind="batch", stream=dtype, source="bench", seq=0, run=run, ls=1, orbit=0, n=per_message * CROSSINGS,
        dtype=dtype, epoch=1, generation=0, t_ns=time.time_ns(), pileup=PILEUPS[0],
    )  # fmt: skip
    topic, first = encode(Batch(header, np.empty(0)))[:2]
    fields = msgpack.unpackb(first)
    own = {"kind": "begin", "n": 0, "filled": int(MASK.sum()), "ls_orbits": ORBITS_PER_LS}
    yield [topic, msgpack.packb(fields | own), np.packbits(MASK).tobytes()]
    seq = 0
    for orbit in range(0, orbits, per_message):
        seq += 1
        ls = orbit // ORBITS_PER_LS
        t_ns = header.t_ns + orbit * ORBIT_NS
        fields |= {"seq": seq, "ls": ls + 1, "orbit": orbit, "t_ns": t_ns, "pileup": PILEUPS[ls % len(PILEUPS)]}
        codes = pools[ls % len(PILEUPS)][seq % (POOL // per_message)]
        if orbit % ORBITS_PER_EVENTS < per_message:
            shape = {"events": {"n": EVENTS, "width": WIDTH, "dtype": "i2"}}
            yield [topic, msgpack.packb(fields | shape), codes, *events]
        else:
            yield [topic, msgpack.packb(fields), codes]
    own = {"kind": "end", "n": 0, "seq": seq + 1, "totals": {"messages": seq + 2}}
    yield [topic, msgpack.packb(fields | own)]


def _pool(dtype: str, per_message: int, pileup: float, random: np.random.Generator) -> list[bytes]:
    """Score frames that together are distributed as they should be; 0 where nothing collides."""
    codes = np.zeros((POOL, CROSSINGS), "<" + dtype)
    codes[:, MASK] = scores(POOL * int(MASK.sum()), BITS[dtype], pileup, random).reshape(POOL, -1)
    return [part.tobytes() for part in codes.reshape(POOL // per_message, -1)]
