"""The knobs that scale: the inputs by object type, η ring or feature, their offsets, and what comes behind them."""

from collections.abc import Callable, Sequence

import numpy as np

from firmware.model.model import Model
from firmware.model.parts import ENERGIES
from recalib.arrays import Floats
from recalib.errors import Unfit
from recalib.inputs.estimates import Pedestal, Scale
from recalib.knobs.knobs import LinearKnob
from recalib.knobs.names import KnobName

SPREAD = 0.1
"""Prior spread of ln(scale) for one object type, and for a scale behind the inputs."""

INPUT_SPREAD = 0.02
"""How far ln(scale) of an object type may be from what its energies alone tell, beyond statistics; an offset too."""

FEATURE_SPREAD = 0.02
"""Prior spread of one feature's ln(scale) about that of its object type."""

RINGS_APART = 3.0
"""From so many standard deviations of chance on the η rings have different scales."""

RING_KNOWN = 0.05
"""A ring whose ln(scale) is not known to this is left alone."""

RING_SPREAD = 0.3
"""How far the spread of the η rings' scales may be from what the energies tell, relative."""


def scale_knob(name: KnobName, model: Model, scale_of: Callable[[str], Scale], max_move: float) -> LinearKnob:
    """The knob of that name on a model.

    Args:
        scale_of: what an object type's energies alone tell of its scale; the prior of the scales of the inputs
            is centred there.

    Raises:
        Unfit: if the model has no such registers.
    """
    if name in (KnobName.OUTPUT_SCALE, KnobName.LATENT_SCALE):
        size = model.layout[name].size
        labels = tuple(f"{name.removesuffix('_scale')}{i}" for i in range(size))
        return LinearKnob(name, {name: np.eye(size)}, labels, np.full(size, SPREAD), np.zeros(size), max_move)
    energies = [i for i, feature in enumerate(model.features) if feature.kind in ENERGIES]
    objects = sorted({model.features[i].object for i in energies})
    if not objects:
        raise Unfit(f"{name}: the model has no input of kind {' or '.join(ENERGIES)}")
    tied = _columns(model, [[i for i in energies if model.features[i].object == o] for o in objects])
    told = [scale_of(o) for o in objects]
    known = np.array([t.error < SPREAD for t in told])
    centre = np.where(known, [t.scale for t in told], 0.0)
    spread = np.where(known, np.hypot([t.error for t in told], INPUT_SPREAD), SPREAD)
    labels = tuple(objects)
    if name is KnobName.INPUT_SCALE:
        return LinearKnob(name, {name: tied}, labels, spread, centre, max_move, acts_on="inputs", inputs=True)
    if name is KnobName.INPUT_SCALE_RING:
        patterns = _patterns(model, dict(zip(objects, told, strict=True)))
        sizes = np.array([np.sqrt(np.mean(p[p != 0] ** 2)) for p in patterns.values()])
        along = _along_rings(model, {o: p / size for (o, p), size in zip(patterns.items(), sizes, strict=True)})
        together = {"input_scale": tied, "ring_scale": np.zeros((model.n_rings, len(objects)))}
        ties = {field: np.hstack([together[field], tie]) for field, tie in along.items()}
        return LinearKnob(
            name,
            ties,
            (*labels, *(f"{o} rings" for o in patterns)),
            np.append(spread, RING_SPREAD * sizes),
            np.append(centre, sizes),
            max_move,
            acts_on="inputs",
            inputs=True,
        )
    tie = np.hstack([tied, _columns(model, [[i] for i in energies])])
    labels = (*labels, *(model.features[i].name for i in energies))
    spread = np.append(spread, np.full(len(energies), FEATURE_SPREAD))
    centre = np.append(centre, np.zeros(len(energies)))
    return LinearKnob(name, {"input_scale": tie}, labels, spread, centre, max_move, acts_on="inputs", inputs=True)


def offset_knob(
    model: Model, scale_of: Callable[[str], Scale], pedestal_of: Callable[[str], Pedestal | None], max_move: float
) -> LinearKnob:
    """The knob for the parameters of `input_scale`, and an offset of each object type whose energies ask for one.

    Args:
        scale_of: as of `scale_knob`.
        pedestal_of: what the energies tell of scale and offset together.

    Raises:
        Unfit: if no energies ask for an offset.
    """
    scales = scale_knob(KnobName.INPUT_SCALE, model, scale_of, max_move)
    tied, centre, spread = scales.ties["input_scale"], scales.centre.copy(), scales.spread.copy()
    told = {k: found for k, name in enumerate(scales.labels) if (found := pedestal_of(name))}
    if not told:
        raise Unfit("input_offset: a scale alone brings the energies as near to the reference's")
    for k, found in told.items():
        centre[k], spread[k] = found.scale, np.hypot(found.scale_error, INPUT_SPREAD)
    offsets = np.stack([found.unit * tied[:, k] for k, found in told.items()], axis=1)
    return LinearKnob(
        KnobName.INPUT_OFFSET,
        {
            "input_scale": np.hstack([tied, np.zeros_like(offsets)]),
            "input_offset": np.hstack([np.zeros_like(tied), offsets]),
        },
        (*scales.labels, *(f"{scales.labels[k]} offset" for k in told)),
        np.append(spread, [np.hypot(found.offset_error, INPUT_SPREAD) for found in told.values()]),
        np.append(centre, [found.offset for found in told.values()]),
        max_move,
        acts_on="inputs",
        inputs=True,
        added=("input_offset",),
    )


def _patterns(model: Model, told: dict[str, Scale]) -> dict[str, Floats]:
    """By object type, how the ln(scale) of each of its η rings (rings,) differs from that of the type.

    What the energies tell of each ring, shrunk towards 0 by how much of the rings' spread is statistics (the
    posterior mean of normal effects whose variance is the observed one less the errors': empirical Bayes,
    C. Morris, J. Am. Stat. Assoc. 78 (1983) 47).

    Raises:
        Unfit: if the model has no rings, or no ring differs.
    """
    ringed = {name: t for name, t in told.items() if model.ring_registers(name) or model.fixed_rings(name) is not None}
    if not ringed:
        raise Unfit("input_scale_ring: the model has no scales by η ring")
    patterns = {}
    for name, t in ringed.items():
        heard = t.ring_errors < RING_KNOWN
        if t.spread > RINGS_APART and heard.any():
            found, variance = t.rings[heard], t.ring_errors[heard] ** 2
            weight = 1 / variance / (1 / variance).sum()
            apart = found - weight @ found
            between = max(0.0, float(weight @ (apart**2 - variance)))
            patterns[name] = np.zeros(len(t.rings))
            patterns[name][heard] = between / (between + variance) * apart
    patterns = {name: pattern for name, pattern in patterns.items() if pattern.any()}
    if not patterns:
        raise Unfit("input_scale_ring: no η ring differs from the others")
    return patterns


def _along_rings(model: Model, patterns: dict[str, Floats]) -> dict[str, Floats]:
    """By field (registers, K): each pattern of an object's rings on the registers that scale what is in them.

    Those are the rings' own where an η tells the ring, and the inputs' where each has a ring of its own.
    """
    ties = {"input_scale": np.zeros((model.n_features, len(patterns)))}
    if model.rings:
        ties["ring_scale"] = np.zeros((model.n_rings, len(patterns)))
    for k, (name, pattern) in enumerate(patterns.items()):
        rings = model.fixed_rings(name)
        if rings is None:
            ties["ring_scale"][list(model.ring_registers(name)), k] = pattern
        else:
            ties["input_scale"][model.energies(name), k] = pattern[rings]
    return ties


def _columns(model: Model, groups: Sequence[Sequence[int]]) -> Floats:
    """(n_features, groups), 1 where the feature is in the group."""
    columns = np.zeros((model.n_features, len(groups)))
    for k, group in enumerate(groups):
        columns[list(group), k] = 1.0
    return columns
