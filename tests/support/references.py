"""A reference of scores whose tail grows with pile-up, and the sample that it is of."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.stats.count.building import reference_of_sample
from monitor.stats.count.reference import Reference
from monitor.stats.count.tally import Chunk

BITS = 12
CUTS = (300, 500)
PILEUP = (10.0, 25.0, 35.0, 45.0, 60.0)


def chunks(n: int = 4, size: int = 20_000, seed: int = 1, events: bool = True) -> Iterator[Chunk]:
    """Scores whose tail grows with pile-up, and inputs on which they depend."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        pileup = rng.uniform(15, 55, size)
        inputs = np.stack([rng.poisson(3, size), rng.integers(-70, 70, size) * (rng.random(size) < 0.4)], axis=1)
        codes = (rng.gamma(2, 20 + pileup) + inputs[:, 0]).astype(np.int64).clip(0, 2**BITS - 1)
        yield codes, inputs if events else None, pileup


def build(**settings: Any) -> Reference:
    """The reference of all chunks, by other settings than its own where some are given."""
    defaults: dict[str, Any] = {"cuts": CUTS, "bits": BITS, "pileup_edges": PILEUP}
    return reference_of_sample(chunks(), **(defaults | settings))


REFERENCE = build()


def joined() -> tuple[NDArray[Any], ...]:
    """Codes, inputs and pile-up of all chunks together."""
    return tuple(np.concatenate(part) for part in zip(*chunks(), strict=True))
