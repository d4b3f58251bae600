"""Whether what is too much is confined to few codes or few places: a signal, or a fault, but no drift."""

from dataclasses import dataclass

import numpy as np

from firmware.model.model import Model
from firmware.model.payload import Payload
from monitor.stats.count.reference import Reference
from recalib.arrays import Floats
from recalib.inputs.places import REGION, object_axes
from recalib.inputs.scan import SIGNIFICANT, Axis, Counted, Place, best_interval, concentrated
from recalib.sample import EventSample

TAIL = 0.02
"""The same for scores: a small drift of everything is seen in the tail before it is in the bulk."""
RISE = 0.15
"""Of the rate at a cut, relative to its target, from which on a local excess of the scores matters."""
BUMP = 0.01
"""Share of the crossings from which on a local excess of the scores matters whatever the rates."""
ENTRIES = 0.002
"""Share of an object's entries from which on a local excess of them matters."""
TIMES = 1.5
"""A local excess of objects is at least this multiple of what the reference has there."""
MISSING = 0.5
"""What a region has lost at least, to be called a confined deficit."""


@dataclass(frozen=True)
class Locality:
    """What is confined to few codes, in words; "" where nothing is.

    Args:
        excess: a local excess, for a human to decide about.
        deficit: a region that has lost most of what it should have.
    """

    excess: str = ""
    deficit: str = ""


def locality(
    model: Model,
    reference: Reference,
    weights: Floats,
    sample: EventSample,
    base: Payload,
    p_ref: Floats,
    rates: Floats,
    pileup: float | None,
) -> Locality:
    """Look at the scores, and at the places of each object type, for more than the reference has there.

    An excess is local if it is significant (5 σ), large enough to matter, and if at least 80 % of all
    excess lies in codes that hold at most 5 % (scores: 2 %) of the reference. Scores are held against
    p_ref, in the reference's cells; objects, by their energies, η and φ, against the reference's events,
    free of how many there are in all. Intervals of codes are scanned, after M. Kulldorff, Commun. Stat.
    26 (1997) 1481.

    Args:
        weights: (k,) of the reference's events.
        base: the payload under which the sample was taken; its input registers correct the energies.
        p_ref: (B,) to restore.
        rates: (n_cuts,) targets.
    """
    places = [_scores(reference, sample, p_ref, rates, pileup)]
    deficit = ""
    if len(reference.events):
        axes = list(object_axes(model, reference, weights, sample, base))
        local = [place for place in map(_local_objects, axes) if place]
        places.append(str(max(local, key=lambda place: place.sigmas)) if local else "")
        deficit = next(filter(None, map(_deficit, axes)), "")
    return Locality("; ".join(filter(None, places)), deficit)


def _scores(reference: Reference, sample: EventSample, p_ref: Floats, rates: Floats, pileup: float | None) -> str:
    """What is local in the reference's cells of scores and matters, in words."""
    expected = reference.expected(pileup)
    cells = expected.times(p_ref / expected.p, np.inf).cells
    starts = reference.cells.edges[:-1]
    seen = Counted.of(
        np.searchsorted(starts, sample.codes, side="right") - 1, sample.weights / sample.weights.sum(), len(cells)
    )
    known = Counted(cells, cells / expected.m, 1 / expected.m)
    place = concentrated(Axis("the scores", "cells of codes", [str(code) for code in starts], seen, known), TAIL)
    if place is None:
        return ""
    excess = place.axis.excess * place.cells
    added = np.array([excess[starts >= cut].sum() for cut in reference.binning.cuts]) / rates
    if added.max() < RISE and excess.sum() < BUMP:
        return ""
    return f"{place}; it adds {', '.join(f'{rise:.0%}' for rise in added)} to the rates at the cuts"


def _local_objects(axis: Axis) -> Place | None:
    """What is local in an object type and matters."""
    place = concentrated(axis)
    if place is None or place.times < TIMES:
        return None
    return place if axis.excess[place.cells].sum() >= ENTRIES * axis.seen.entries.sum() else None


def _deficit(axis: Axis) -> str:
    """Neighbouring cells in which most of what should be there is missing, in words."""
    region = (
        best_interval(-axis.excess, axis.squares(-1), axis.mass, REGION, SIGNIFICANT, axis.joined)
        if axis.joined
        else None
    )
    if region is None:
        return ""
    missing = -axis.excess[region].sum() / axis.expected.entries[region].sum()
    if missing < MISSING:
        return ""
    first, *_, last = (*axis.labels[region], axis.labels[region][-1])
    where = f"{axis.where} {first} to {last}"
    return f"{missing:.0%} of {axis.of} are missing at {where}, where the reference has {axis.mass[region].sum():.1%}"
