"""The knob of what the network is told of the crossings."""

import numpy as np

from firmware.model.model import Model
from firmware.model.payload import Payload
from recalib.errors import Unfit
from recalib.knobs.knobs import LinearKnob
from recalib.knobs.names import KnobName

PILEUP_SPREAD = 0.03
"""How far the pile-up that the network is told may be from the measured one, relative."""


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
        KnobName.CONDITIONING,
        {"conditioning": np.eye(len(deployed))},
        tuple(condition.name for condition in model.conditions),
        spread,
        centre,
        float((ends[1] - ends[0]).max()),
        acts_on="inputs",
        added=("conditioning",),
        limits={"conditioning": (ends[0], ends[1])},
    )
