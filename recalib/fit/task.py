"""One request, prepared: what every knob of it needs, looked at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware.model.payload import Payload
from monitor.stats.count.reference import Reference
from recalib.arrays import Events, Floats
from recalib.errors import Unfit
from recalib.evidence import Evidence, Target, quantile_map
from recalib.inputs.inputs import InputReference, Observed
from recalib.inputs.locality import Locality, locality
from recalib.knobs.direct import moved_cuts
from recalib.knobs.forest import as_scales
from recalib.loaded import LoadedModel
from recalib.request import FitRequest, FitSettings
from recalib.sample import EventSample

MOVE_SHARE = 0.95
MOVE_SLACK = 2.0
"""δ is this multiple of the move that the given share of the events needs at least (monotone map to p_ref)."""

PILEUP_WIDTH = 3.0
"""Reference events count by how near their pile-up is to that of the sample, with this Gaussian width;"""
FAR = 3.5
"""beyond so many widths they do not count."""


@dataclass(frozen=True, eq=False)
class Task:
    """One request, prepared.

    Args:
        sample: all events of the request.
        known: those of fit and choice together; gates has seen the others only.
        fit, choice, deployed: what the deployed payload gives on fit, choice and known.
        pileup: mean of the sample, if it is known.
        reference, reference_weights: the reference's events (k, n_features) about the sample's pile-up.
        told: the inputs of fit.
        seen: those of choice, mismatch their distance from the reference's.
        undrifted: what of known the undrifted trigger would accept at these rates (n, n_cuts), as far as a monotone
            change of the energies' response is all that has happened; None where the model has no energies.
    """

    base: Payload
    target: Target
    settings: FitSettings
    sample: EventSample
    known: EventSample
    gates: EventSample
    fit: Evidence
    choice: Evidence
    deployed: Evidence
    pileup: float | None
    reference: Events
    reference_weights: Floats
    inputs: InputReference
    told: Observed
    seen: Observed
    mismatch: float
    undrifted: NDArray[np.bool_] | None
    delta: float
    locality: Locality

    @property
    def excess(self) -> float:
        """The KL above what statistics alone give."""
        return max(self.choice.kl - self.choice.kl_floor, 0.0)


def prepare(loaded: LoadedModel, request: FitRequest) -> Task:
    """Split the sample and say what the deployed payload makes of it.

    Raises:
        Unfit: if nothing can be fitted to that sample; the text says why.
    """
    base = Payload(loaded.model.id, loaded.model.layout, request.words)
    target = Target(loaded.edges, request.p_ref, request.m, request.rates)
    sample, settings = request.sample, request.settings
    _check(sample, target, settings)
    # The gates' events must stay unseen until the knob is chosen: else what they say of it is flattery.
    split = sample.split(settings.seed)
    known = split.fit.joined(split.choice)
    deployed = loaded.evidence(base, known, target)
    if wrong := np.count_nonzero(known.codes != deployed.codes):
        raise Unfit(
            f"{wrong} of {len(known)} published codes are not those of payload {base.id[:12]}: "
            "the board does not run what it is thought to run"
        )
    fit, choice = deployed.take(slice(0, len(split.fit))), deployed.take(slice(len(split.fit), None))
    close = near(loaded.reference, request.pileup)
    events, weights = loaded.reference.events[close > 0], close[close > 0]
    inputs = InputReference(loaded.model, events, weights)
    told, seen = (inputs.observe(part.events, part.weights) for part in (split.fit, split.choice))
    return Task(
        base=base,
        target=target,
        settings=settings,
        sample=sample,
        known=known,
        gates=split.gates,
        fit=fit,
        choice=choice,
        deployed=deployed,
        pileup=request.pileup,
        reference=events,
        reference_weights=weights,
        inputs=inputs,
        told=told,
        seen=seen,
        mismatch=inputs.mismatch(seen, as_scales(loaded.model, base)),
        undrifted=_undrifted(loaded, inputs, known, base, deployed),
        delta=settings.delta or _delta(loaded, fit, target),
        locality=locality(loaded.model, loaded.reference, close, sample, base, target.p, target.rates, request.pileup),
    )


def _check(sample: EventSample, target: Target, settings: FitSettings) -> None:
    """Raise `Unfit` for a sample or a target from which nothing can be told."""
    if len(sample) < settings.min_events:
        raise Unfit(f"{len(sample)} events in the sample, {settings.min_events} are needed")
    if sample.n_eff < settings.min_effective:
        raise Unfit(
            f"the sample is as precise as {sample.n_eff:.0f} equally weighted events, "
            f"{settings.min_effective:g} are needed"
        )
    if not (np.isfinite(target.p).all() and np.isfinite(target.rates).all()):
        raise Unfit("the reference distribution holds a value that is no number")
    if (sample.codes == sample.codes[0]).all():
        raise Unfit(f"every score in the sample is {sample.codes[0]}")


def _undrifted(
    loaded: LoadedModel, inputs: InputReference, known: EventSample, base: Payload, deployed: Evidence
) -> NDArray[np.bool_] | None:
    """What the nominal model would accept (n, n_cuts) at the target's rates of the events without their drift."""
    nominal = loaded.package.nominal
    if not loaded.model.is_energy.any():
        return None
    events = inputs.undrifted(inputs.observe(known.events, known.weights), known.events)
    if loaded.model.conditions:
        nominal = nominal.replace(conditioning=base.raw("conditioning"))
    codes = loaded.surrogate.codes(events, nominal)
    twins = Evidence.of_codes(codes, nominal.raw("cuts"), deployed.weights, deployed.target)
    return np.asarray(codes[:, None] >= moved_cuts(twins, nominal).raw("cuts"))


def _delta(loaded: LoadedModel, fit: Evidence, target: Target) -> float:
    moved = np.abs(quantile_map(fit.codes, fit.p, target) - fit.codes)
    order = np.argsort(moved)
    place = np.searchsorted(np.cumsum(fit.weights[order]), MOVE_SHARE)
    needed = moved[order][min(int(place), len(moved) - 1)]
    return float(max(1.0, MOVE_SLACK * needed) * loaded.model.lsb)


def near(reference: Reference, pileup: float | None) -> Floats:
    """Weights (k,) of the reference's events around a pile-up, 0 far from it."""
    weights = 1 / reference.event_inclusion.astype(np.float64)
    if pileup is not None and reference.event_pileup is not None:
        away = np.abs(reference.event_pileup - pileup) / PILEUP_WIDTH
        weights = np.where(away < FAR, weights * np.exp(-0.5 * away**2), 0.0)
    return weights
