"""The register families that a recalibration can turn."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from firmware.model.model import Model
from firmware.model.parts import ENERGIES
from firmware.model.payload import Payload
from recalib.errors import Unfit
from recalib.evidence import Evidence, Target
from recalib.inputs.hidden import HiddenTell
from recalib.inputs.inputs import Pedestal, Tell

Floats = NDArray[np.float64]
Stage = Literal["inputs", "hidden", "latent"]

SPREAD = 0.1
"""Prior spread of ln(scale) for one object type, and for a scale behind the inputs."""

INPUT_SPREAD = 0.02
"""How far ln(scale) of an object type may be from what its energies alone tell, beyond statistics; an offset too."""

FEATURE_SPREAD = 0.02
"""Prior spread of one feature's ln(scale) about that of its object type."""

HIDDEN_SPREAD = 0.01
"""How far the gain of what the last layer gets, and the shift of what it gives, may be from what these numbers tell."""

PILEUP_SPREAD = 0.03
"""How far the pile-up that the network is told may be from the measured one, relative."""

COARSE = 8
"""In units of their lsb: smaller weights, root mean square, have no gain."""

TINY = 1e-12

RINGS_APART = 3.0
"""From so many standard deviations of chance on the η rings have different scales."""

RING_KNOWN = 0.05
"""A ring whose ln(scale) is not known to this is left alone."""

RING_SPREAD = 0.3
"""How far the spread of the η rings' scales may be from what the energies tell, relative."""


@dataclass(frozen=True, eq=False)
class Knob(ABC):
    """Turns the registers of some fields; register j moves by Σ_k tie_jk θ_k.

    θ = 0 is the identity. The result is rounded to the registers' grid by the payload.

    Args:
        ties: by name of the register field (registers, K), which register follows which parameter.
        labels: of the K parameters.
        spread, centre: (K,), the prior's standard deviations and means.
        max_move: of a parameter, and of a register that is multiplied.
        stage: what the first of its registers act on.
        inputs: whether it corrects the inputs, so that these can be compared with the reference's.
    """

    name: str
    ties: dict[str, Floats]
    labels: tuple[str, ...]
    spread: Floats
    centre: Floats
    max_move: float
    stage: Stage = "latent"
    inputs: bool = False

    @abstractmethod
    def values(self, theta: Floats, base: Payload) -> dict[str, Floats]:
        """Not yet rounded, by field."""

    @abstractmethod
    def per_move(self, field: str, value: Tensor, slope: Tensor) -> Tensor:
        """Slopes in the moves of a field's registers from those in their values."""

    def payload(self, theta: Floats, base: Payload) -> Payload:
        """The deployed payload with the turned registers, each on its grid and within its range."""
        values = self.values(theta, base)
        kinds = {field: base.layout[field].type for field in values}
        return base.replace_values(
            **{
                f: np.clip(v, kinds[f].value(kinds[f].min_raw), kinds[f].value(kinds[f].max_raw))
                for f, v in values.items()
            }
        )

    def moves(self, theta: Floats) -> dict[str, float]:
        return dict(zip(self.labels, theta.tolist(), strict=True))


@dataclass(frozen=True, eq=False)
class LinearKnob(Knob):
    """Adds to some fields, deployed_j + Σ_k tie_jk θ_k, and multiplies others, deployed_j · exp(Σ_k tie_jk θ_k).

    Args:
        added: the fields of the first sort.
        limits: lowest and highest values of the registers of a field.
    """

    added: tuple[str, ...] = ()
    limits: dict[str, tuple[Floats, Floats]] = field(default_factory=dict)

    def values(self, theta: Floats, base: Payload) -> dict[str, Floats]:
        most = self.max_move
        found = {}
        for name, tie in self.ties.items():
            if name in self.added:
                found[name] = base.value(name) + tie @ np.clip(theta, -most, most)
            else:
                found[name] = base.value(name) * np.exp(np.clip(tie @ theta, -most, most))
        return found | {name: np.clip(found[name], *ends) for name, ends in self.limits.items()}

    def per_move(self, field: str, value: Tensor, slope: Tensor) -> Tensor:
        return slope if field in self.added else slope * value


def weight_knob(model: Model, base: Payload, tell: Callable[[], HiddenTell], max_move: float) -> LinearKnob:
    """How much each number counts that the last layer gets, and a shift of each that it gives.

    w_ij moves by g_i w⁰_ij, w⁰ as trained, and b_j by s_j times the norm of a column of random weights: the matrix
    keeps its signs, and what the network has learnt to look at. Numbers that do not vary, or hardly count, are left
    alone. The prior is centred where the others have the mean and the spread that they had in the reference.

    Args:
        tell: what brings them there.
        max_move: of a gain and of a shift, with what the rounding of the weights adds.

    Raises:
        Unfit: if no register holds the weights.
    """
    if not model.has_weights:
        raise Unfit("weights: the model's last layer is frozen")
    last = model.layers[-1]
    told, (weight, bias) = tell(), trained_weights(model)
    squares, n_out = (weight**2).sum(axis=1), weight.shape[1]
    alive = np.flatnonzero((told.error > 0) & (squares > n_out * (COARSE * last.weight_type.lsb) ** 2))
    unit, n = bias_unit(model), len(alive)
    gains = np.zeros((*weight.shape, n + n_out))
    gains[alive, :, np.arange(n)] = weight[alive]
    shifts = np.hstack([np.zeros((n_out, n)), unit * np.eye(n_out)])
    deployed = (base.value("weights").reshape(weight.shape) * weight).sum(axis=1) / np.maximum(squares, TINY)
    most = max_move - last.weight_type.lsb / 2 * np.sqrt(n_out / squares[alive].min(initial=np.inf))
    back = np.zeros(len(weight))
    back[alive] = np.clip(told.gain - deployed, -most, most)[alive]
    shift = (bias + (told.then - (deployed + back) * told.now) @ weight - base.value("biases")) / unit
    return LinearKnob(
        "weights",
        {"weights": gains.reshape(weight.size, -1), "biases": shifts},
        (*(f"hidden{i}" for i in alive), *(f"latent{j}" for j in range(n_out))),
        np.append(np.hypot(told.error[alive], HIDDEN_SPREAD), np.full(n_out, HIDDEN_SPREAD)),
        np.append(back[alive], shift),
        most,
        stage="hidden",
        added=("weights", "biases"),
    )


def condition_knob(model: Model, base: Payload, pileup: float | None) -> LinearKnob:
    """What the network is told of the crossings, in the registers' own values.

    The prior is centred on the measured pile-up where that is known, else on what is deployed; no register leaves what
    the network was trained on.

    Raises:
        Unfit: if no register tells it anything.
    """
    if not model.conditions:
        raise Unfit("conditioning: the model has no conditions")
    deployed, kind = base.value("conditioning"), model.conditions[0].type
    ends = kind.value([[c.low for c in model.conditions], [c.high for c in model.conditions]])
    spread, centre = (ends[1] - ends[0]) / 4, np.zeros(len(deployed))
    for i, condition in enumerate(model.conditions):
        if condition.name == "pileup" and pileup is not None:
            spread[i], centre[i] = PILEUP_SPREAD * pileup / condition.unit, condition.value(pileup) - deployed[i]
    return LinearKnob(
        "conditioning",
        {"conditioning": np.eye(len(deployed))},
        tuple(condition.name for condition in model.conditions),
        spread,
        centre,
        float((ends[1] - ends[0]).max()),
        stage="inputs",
        added=("conditioning",),
        limits={"conditioning": (ends[0], ends[1])},
    )


def trained_weights(model: Model) -> tuple[Floats, Floats]:
    """Of the last layer, (n_in, n_out) and (n_out,)."""
    last = model.layers[-1]
    return last.weight_type.value(last.weight), last.bias_type.value(last.bias)


def bias_unit(model: Model) -> float:
    """The norm of a column of the last layer's trained weights, root mean square over the columns."""
    weight, _ = trained_weights(model)
    return float(np.sqrt((weight**2).sum() / weight.shape[1]))


def scale_knob(name: str, model: Model, tell: Callable[[str], Tell], max_move: float) -> LinearKnob:
    """The knob of that name on a model.

    Args:
        tell: what an object type's energies alone tell of its scale; the prior of the scales of the inputs
            is centred there.

    Raises:
        Unfit: if the model has no such registers.
    """
    if name in ("output_scale", "latent_scale"):
        size = model.layout[name].size
        labels = tuple(f"{name.removesuffix('_scale')}{i}" for i in range(size))
        return LinearKnob(name, {name: np.eye(size)}, labels, np.full(size, SPREAD), np.zeros(size), max_move)
    energies = [i for i, feature in enumerate(model.features) if feature.kind in ENERGIES]
    objects = sorted({model.features[i].object for i in energies})
    if not objects:
        raise Unfit(f"{name}: the model has no input of kind {' or '.join(ENERGIES)}")
    tied = _columns(model, [[i for i in energies if model.features[i].object == o] for o in objects])
    told = [tell(o) for o in objects]
    known = np.array([t.error < SPREAD for t in told])
    centre = np.where(known, [t.scale for t in told], 0.0)
    spread = np.where(known, np.hypot([t.error for t in told], INPUT_SPREAD), SPREAD)
    labels = tuple(objects)
    if name == "input_scale":
        return LinearKnob(name, {name: tied}, labels, spread, centre, max_move, stage="inputs", inputs=True)
    if name == "input_scale_ring":
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
            stage="inputs",
            inputs=True,
        )
    tie = np.hstack([tied, _columns(model, [[i] for i in energies])])
    labels = (*labels, *(model.features[i].name for i in energies))
    spread = np.append(spread, np.full(len(energies), FEATURE_SPREAD))
    centre = np.append(centre, np.zeros(len(energies)))
    return LinearKnob(name, {"input_scale": tie}, labels, spread, centre, max_move, stage="inputs", inputs=True)


def offset_knob(
    model: Model, tell: Callable[[str], Tell], pedestal: Callable[[str], Pedestal | None], max_move: float
) -> LinearKnob:
    """The knob for the parameters of `input_scale`, and an offset of each object type whose energies ask for one.

    Args:
        tell: as of `scale_knob`.
        pedestal: what the energies tell of scale and offset together.

    Raises:
        Unfit: if no energies ask for an offset.
    """
    scales = scale_knob("input_scale", model, tell, max_move)
    tied, centre, spread = scales.ties["input_scale"], scales.centre.copy(), scales.spread.copy()
    told = {k: found for k, name in enumerate(scales.labels) if (found := pedestal(name))}
    if not told:
        raise Unfit("input_offset: a scale alone brings the energies as near to the reference's")
    for k, found in told.items():
        centre[k], spread[k] = found.scale, np.hypot(found.scale_error, INPUT_SPREAD)
    offsets = np.stack([found.unit * tied[:, k] for k, found in told.items()], axis=1)
    return LinearKnob(
        "input_offset",
        {
            "input_scale": np.hstack([tied, np.zeros_like(offsets)]),
            "input_offset": np.hstack([np.zeros_like(tied), offsets]),
        },
        (*scales.labels, *(f"{scales.labels[k]} offset" for k in told)),
        np.append(spread, [np.hypot(found.offset_error, INPUT_SPREAD) for found in told.values()]),
        np.append(centre, [found.offset for found in told.values()]),
        max_move,
        stage="inputs",
        inputs=True,
        added=("input_offset",),
    )


def _patterns(model: Model, told: dict[str, Tell]) -> dict[str, Floats]:
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


def _columns(model: Model, groups: Sequence[Sequence[int]]) -> Floats:
    """(n_features, groups), 1 where the feature is in the group."""
    columns = np.zeros((model.n_features, len(groups)))
    for k, group in enumerate(groups):
        columns[list(group), k] = 1.0
    return columns
