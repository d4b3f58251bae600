"""What the last layer gets of drifted events, against what it got of the reference's."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from firmware.model.payload import Payload
from firmware.sim.world.detector import NOMINAL, Response
from recalib.inputs.hidden import HiddenReference
from tests.recalib.conftest import PILEUP, Lab

PEDESTAL = Response(jet_pedestal=1.5)


@pytest.fixture(scope="module")
def reference(weighted: Lab) -> HiddenReference:
    near = np.abs(weighted.reference.event_pileup - PILEUP) < 3  # type: ignore[operator]
    events = weighted.reference.events[near]
    return HiddenReference(weighted.engine.loaded.surrogate, weighted.nominal, events, np.ones(len(events)))


def hidden(lab: Lab, response: Response, n: int = 50_000) -> NDArray[np.float64]:
    events = torch.from_numpy(lab.events(n, response).astype(np.float64))
    with torch.no_grad():
        found = lab.engine.loaded.surrogate.hidden(events, lab.engine.loaded.surrogate.of(lab.nominal))
    return np.asarray(found.double().numpy())


def latent(lab: Lab, response: Response, payload: Payload, n: int = 50_000) -> NDArray[np.float64]:
    with torch.no_grad():
        found = lab.engine.loaded.surrogate.latent(
            torch.from_numpy(hidden(lab, response, n)), lab.engine.loaded.surrogate.of(payload)
        )
    return np.asarray(found.numpy())


def test_without_a_drift_every_gain_is_one_within_its_error(weighted: Lab) -> None:
    """Of half of the crossings against the other half."""
    events = weighted.events(100_000)
    half = HiddenReference(weighted.engine.loaded.surrogate, weighted.nominal, events[50_000:], np.ones(50_000))
    told = half.tell(hidden(weighted, NOMINAL, 100_000)[:50_000], np.ones(50_000))
    varies = told.error > 0
    assert varies.sum() >= 5
    pulls = (told.gain - 1)[varies] / told.error[varies]
    assert np.abs(pulls).max() < 4
    assert (told.gain[~varies] == 1).all()
    np.testing.assert_allclose(told.now, told.then, atol=0.05)


def test_a_gain_and_an_offset_that_numbers_have_had_are_told(weighted: Lab, reference: HiddenReference) -> None:
    """Whatever the weights of the events: those that count twice may as well be there twice."""
    values = hidden(weighted, NOMINAL)
    told = reference.tell(1.25 * values + 3, np.ones(len(values)))  # a smaller spread might be too small to tell
    plain = reference.tell(values, np.ones(len(values)))
    varies = plain.error > 0
    np.testing.assert_allclose(told.gain[varies], plain.gain[varies] / 1.25)
    lsb = weighted.engine.loaded.surrogate.hidden_lsb
    np.testing.assert_allclose(told.now, 1.25 * plain.now + 3 * lsb)
    twice = reference.tell(np.concatenate([values, values[:1000]]), np.ones(len(values) + 1000))
    weights = np.where(np.arange(len(values)) < 1000, 2.0, 1.0)
    np.testing.assert_allclose(reference.tell(values, weights).gain, twice.gain)


def test_latent_values_mismatch_by_nothing_without_a_drift_and_by_much_with_one(
    weighted: Lab, reference: HiddenReference
) -> None:
    ones = np.ones(50_000)
    none = reference.mismatch(latent(weighted, NOMINAL, weighted.nominal), ones)
    drifted = reference.mismatch(latent(weighted, PEDESTAL, weighted.nominal), ones)
    assert abs(none) < 0.002
    assert drifted > 10 * max(none, 0.001)
