"""What needs no fit: cuts at a rate, and a look-up table that maps one distribution onto another."""

import numpy as np

from firmware.model.payload import Payload
from recalib.arrays import Floats
from recalib.errors import Unfit
from recalib.evidence import Evidence, Target


def moved_cuts(evidence: Evidence, base: Payload, rates: Floats | None = None) -> Payload:
    """Each cut where the weighted rate at and above it comes nearest to its target, or to one of `rates` (n_cuts,)."""
    wanted = evidence.target.rates if rates is None else rates
    order = np.argsort(evidence.codes)[::-1]
    codes, first = np.unique(evidence.codes[order][::-1], return_index=True)
    at_least = np.cumsum(evidence.weights[order])[::-1][first]
    best = np.abs(at_least[:, None] - wanted).argmin(axis=0)
    return base.replace(cuts=codes[best].astype(np.int64))


def mapped_lut(evidence: Evidence, base: Payload, target: Target) -> Payload:
    """The LUT that gives the codes the distribution p_ref, by a monotone map of its present contents.

    Raises:
        Unfit: if the board has no LUT.
    """
    lut = base.raw("lut")
    if not lut.size:
        raise Unfit("lut: the board has none")
    order = np.argsort(evidence.codes)
    codes, below = evidence.codes[order], np.cumsum(evidence.weights[order])
    shares = np.append(0.0, below)
    middle = (shares[np.searchsorted(codes, lut)] + shares[np.searchsorted(codes, lut, side="right")]) / 2
    wanted = np.append(0.0, np.cumsum(target.p))
    mapped = np.rint(np.interp(middle, wanted, target.edges) - 0.5).astype(np.int64)
    most = min(int(lut.size), base.layout["lut"].type.max_raw)
    return base.replace(lut=np.maximum.accumulate(np.clip(mapped, 0, most)))
