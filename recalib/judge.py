"""Whether a payload that is in force did harm: old against new on the events that the new one decided."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from firmware.datapath.emulator import Emulator
from firmware.model.model import Model
from firmware.model.payload import Payload
from recalib.evidence import SIGMAS, Evidence, Target
from recalib.proposal import Judgement
from recalib.request import JudgeRequest


def judge(emulator: Emulator, model: Model, edges: NDArray[np.int64], request: JudgeRequest) -> Judgement:
    """Run both payloads on the same new events and compare how near each comes to the target.

    The new one is harmful only where the old one would do better by more than three standard errors,
    and the new one is off by more than is tolerated: a drift that goes on is no reason to roll back.

    Raises:
        ModelError: events of another width than the model's.
    """
    target = Target(edges, request.p_ref, request.m_ref, request.rates)
    old, new = (
        Evidence.of(
            emulator.run(request.sample.events, Payload(model.id, model.layout, words)),
            request.sample.weights,
            target,
        )
        for words in (request.old, request.new)
    )
    harms = list(_harms(old, new, request))
    pairs = zip(old.rate_ratios, new.rate_ratios, strict=True)
    ratios = ", ".join(f"× {before:.2f} → × {now:.2f}" for before, now in pairs)
    text = f"on {len(request.sample)} new events, old → new: KL {old.kl:.4f} → {new.kl:.4f}, rates {ratios}"
    return Judgement(
        kl_old=old.kl,
        kl_new=new.kl,
        kl_floor=new.kl_floor,
        rates_old=tuple(old.rates.tolist()),
        rates_new=tuple(new.rates.tolist()),
        rates_target=tuple(target.rates.tolist()),
        harmful=bool(harms),
        reason="; ".join([*harms, text]),
    )


def _harms(old: Evidence, new: Evidence, request: JudgeRequest) -> Iterator[str]:
    change, error = new.kl_change(old)
    if request.hold != "rate" and change > SIGMAS * error and new.kl > 2 * new.kl_floor:
        yield f"the old payload would have a KL lower by {change:.4f}, {change / error:.1f} σ"
    if request.hold == "steered":
        return
    worse, errors = new.rate_change(old)
    for cut, (step, sigma) in enumerate(zip(worse, errors, strict=True)):
        off = abs(new.rate_ratios[cut] - 1)
        if step > SIGMAS * sigma and off > request.rate_tolerance:
            yield f"at cut {cut} the old payload's rate would be nearer to its target by {step:.0%}"
