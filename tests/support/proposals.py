"""A proposal with everything in it."""

from typing import Any

import numpy as np

from recalib.proposal import Candidate, Gate, Proposal


def proposal(**own: Any) -> Proposal:
    """An accepted one of two candidates, with what is given in place of its own."""
    p_ref, seen, predicted = (
        np.array(p) for p in ([0.5, 0.3, 0.19, 0.01], [0.4, 0.35, 0.22, 0.03], [0.5, 0.3, 0.188, 0.012])
    )
    fitted = Candidate(
        "input_scale", 0.001, 0.0002, (0.0105,), 0.98, 0.9, {"jet": 0.083, "met": -0.01}, 7.0, "chosen",
        {"jet": 0.004, "met": 0.02},
    )  # fmt: skip
    given: dict[str, Any] = {
        "stream": "axol1tl", "knob": "input_scale", "base_id": "a" * 64, "payload_id": "b" * 64,
        "words": np.zeros(3, np.uint32), "accepted": True, "reason": "input_scale: KL 0.030 → 0.001", "restores": True,
        "p_ref": p_ref, "predicted": predicted, "events": 10_000, "n_eff": 9_000.0, "kl_before": 0.03,
        "kl_after": 0.001, "kl_floor": 0.0005, "rates_before": (0.03,), "rates_after": (0.012,),
        "rates_target": (0.01,), "rate_errors": (0.05,), "retention": (0.98,), "move": 0.083, "beta": 1.0, "delta": 1.0,
        "gates": (
            Gate("kl", -0.03, -0.001, True, "KL 0.03 → 0.001, a fall of 30 σ"),
            Gate("signal resonance", 0.9, 0.95, False, "efficiency 0.9 → 0.81", advice=True),
        ),
        "candidates": (fitted, Candidate("lut", float("nan"), float("nan"), (), float("nan"), 0.0, {}, 0.0, "no LUT")),
        "seen": seen, "squares": predicted / 9_000, "edges": np.array([0, 10, 40, 200, 4096]), "m": 100_000.0,
        "cuts_before": (200,), "cuts_after": (220,),
    }  # fmt: skip
    return Proposal(**given | own)
