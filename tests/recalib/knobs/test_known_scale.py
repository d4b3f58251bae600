"""Energies times a known factor: what the inputs alone tell of it."""

import numpy as np
import pytest
from numpy.typing import NDArray

from recalib.inputs.estimates import scale_of
from recalib.inputs.inputs import InputReference
from tests.recalib.conftest import PILEUP, Lab

N = 50_000
ONES = np.ones(N)
Inputs = NDArray[np.int16]


@pytest.fixture(scope="module")
def inputs(lab: Lab) -> InputReference:
    reference = lab.reference
    assert reference.event_pileup is not None
    near = np.exp(-0.5 * ((reference.event_pileup - PILEUP) / 2.0) ** 2)
    return InputReference(lab.package.model, reference.events, near / reference.event_inclusion)


@pytest.fixture(scope="module")
def quiet(lab: Lab) -> Inputs:
    return lab.events(N, seed=31)


def times(lab: Lab, events: Inputs, name: str, factor: float) -> Inputs:
    out = events.copy()
    for i, feature in enumerate(lab.package.model.features):
        if feature.object == name and feature.kind == "pt":
            dither = np.random.default_rng(i).random(len(events)) - 0.5
            values = np.clip(np.rint((events[:, i] + dither) * factor), 1, lab.package.model.limits[1][i])
            out[:, i] = np.where(events[:, i] > 0, values, 0)
    return out


@pytest.mark.parametrize("factor", [0.92, 1.0, 1.1])
@pytest.mark.parametrize("name", ["jet", "eg"])
def test_a_known_scale_is_found_within_its_error(
    name: str, factor: float, lab: Lab, inputs: InputReference, quiet: Inputs
) -> None:
    told = scale_of(inputs, inputs.observe(times(lab, quiet, name, factor), ONES), lab.nominal, name)
    assert 0 < told.error < 0.02
    assert abs(told.scale + np.log(factor)) < 4 * told.error


def test_the_scale_of_one_object_is_not_seen_in_another(lab: Lab, inputs: InputReference, quiet: Inputs) -> None:
    told = scale_of(inputs, inputs.observe(times(lab, quiet, "jet", 0.9), ONES), lab.nominal, "eg")
    assert abs(told.scale) < 4 * told.error


def test_without_drift_the_mismatch_is_nothing_beside_that_of_a_scale(
    lab: Lab, inputs: InputReference, quiet: Inputs
) -> None:
    apart = inputs.mismatch(inputs.observe(times(lab, quiet, "jet", 0.92), ONES), lab.nominal)
    assert abs(inputs.mismatch(inputs.observe(quiet, ONES), lab.nominal)) < 0.05 * apart
