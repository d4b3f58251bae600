import numpy as np
import pytest
import torch

from firmware.datapath.emulator import Emulator
from firmware.model.axol1tl import WEIGHT
from firmware.model.payload import Payload
from firmware.sim.world.detector import Response
from firmware.sim.world.events import Generator, digitise
from recalib.errors import TrainingError
from recalib.surrogate.casts import cast
from recalib.training.encoder import train
from recalib.training.norms import gain, limited, norms, spectral


def test_a_matrix_within_the_bound_is_left_as_it_is() -> None:
    weight = torch.eye(6)[:, :4] * 0.5
    assert torch.equal(limited(weight, 0.6, WEIGHT), weight)


@pytest.mark.parametrize("most", [0.5, 1.0, 1.5])
def test_a_matrix_beyond_the_bound_is_rounded_to_one_within_it(most: float) -> None:
    torch.manual_seed(2)
    weight = torch.randn(57, 28) / 4
    found = limited(weight, most, WEIGHT)
    assert spectral(weight) > most
    assert spectral(cast(found, WEIGHT)) <= most
    assert spectral(cast(found, WEIGHT)) > 0.8 * most, "it gives away more than rounding needs"


def test_the_bound_holds_for_the_firmwares_weights_and_for_its_latent_values() -> None:
    """√score moves by no more than the bound times the way of the normalised inputs, but for roundings."""
    truth = Generator(5).draw(8192, 40.0)
    events, drifted = digitise(truth), digitise(truth, Response(jet_energy_scale=-0.2, met_noise=1.0))
    model = train(1, events, 1, epochs=1, progress=lambda text: None, lipschitz=2.0)
    free = train(1, events, 1, epochs=1, progress=lambda text: None)
    assert all(norm <= 2 ** (1 / 3) for norm in norms(model))
    assert gain(model) <= 2.0 < gain(free)
    nominal = Payload.nominal(model, np.zeros(1, np.int64))
    n = model.normalisation
    way = np.linalg.norm(
        np.subtract(*(np.clip((e - n.offset) * 0.5**n.shift, -32, 32) for e in (events, drifted))), axis=1
    )
    latent = [Emulator(model).run(e, nominal).latent * model.latent.result_type.lsb for e in (events, drifted)]
    moved = np.linalg.norm(latent[0] - latent[1], axis=1)
    assert (moved <= 2.0 * way + 1.5).all()
    assert moved.max() > 1.5, "the events did not move: this shows nothing"


@pytest.mark.parametrize("bound", [0.0, -1.0, float("nan")])
def test_a_bound_that_is_not_positive_is_refused(bound: float) -> None:
    with pytest.raises(TrainingError, match="expected a number above 0"):
        train(1, np.zeros((1, 57), np.int16), 1, lipschitz=bound)
