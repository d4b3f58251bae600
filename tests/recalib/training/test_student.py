"""The student and its teacher: an anomaly score of the calorimeter's regions."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from firmware.sim.world.calorimeter import regions
from firmware.sim.world.detector import Response
from firmware.sim.world.events import Generator
from recalib.errors import TrainingError
from recalib.training import student
from recalib.training.student import train
from recalib.training.train import CICADA, build_package
from tests.recalib.conftest import PILEUP, Lab

TINY = replace(CICADA, training_events=8192, epochs=1, reference_events=60_000, pileup_edges=(30.0, 45.0, 60.0))


def quiet(text: str) -> None:
    pass


@pytest.fixture(scope="module")
def events() -> NDArray[np.int16]:
    return regions(Generator(5).draw(8192, 40.0))


def test_the_same_seed_gives_the_same_model_and_another_seed_another(
    events: NDArray[np.int16], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(student, "TEACHER_EPOCHS", 1)
    ids = [train(seed, events, 2, epochs=1, progress=quiet).id for seed in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]


def test_a_turned_crossing_has_the_same_rings(events: NDArray[np.int16]) -> None:
    torch.manual_seed(3)
    images = torch.from_numpy(events[:64])
    turned = student.turned(images).unflatten(1, (18, 14))
    before = images.unflatten(1, (18, 14))
    assert (turned.sum(dim=1) == before.sum(dim=1)).all()
    assert (turned.sort(dim=1).values == before.sort(dim=1).values).all()
    assert (turned != before).any()


def test_sums_of_crossings_are_rarer_than_they_and_within_the_range(events: NDArray[np.int16]) -> None:
    sums = student.piled_up(np.minimum(events * 8, 1023).astype(np.int16), 1)
    assert len(sums) == len(events) // 4
    assert sums.max() == 1023
    assert sums.mean() > 1.5 * 8 * events.mean()


def test_the_teacher_s_score_is_32_ln_of_the_mean_squared_miss(events: NDArray[np.int16]) -> None:
    class Blank(student.Autoencoder):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(images)

    images = np.stack([np.zeros(252), np.full(252, 2.0), np.full(252, 1023.0)])
    found = student.teacher_scores(Blank(), torch.from_numpy(images))
    np.testing.assert_allclose(found, [0, 32 * np.log(4), 65535 / 256], rtol=1e-6)


def test_a_loss_that_is_no_number_ends_the_training(events: NDArray[np.int16], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(student, "TEACHER_RATE", 1e30)
    monkeypatch.setattr(student, "TEACHER_EPOCHS", 1)
    with pytest.raises(TrainingError, match="try another seed"):
        train(1, events[:2048], 2, epochs=1, progress=quiet)


def test_a_bound_on_the_gain_is_not_for_a_student(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="only an axol1tl is bounded"):
        build_package(tmp_path / "tiny.driftd", replace(TINY, lipschitz=2.0))


def test_the_package_agrees_with_itself(calorimeter: Lab) -> None:
    package = calorimeter.package
    assert package.model.n_features == 252
    codes = calorimeter.emulator.codes(package.golden_events, package.nominal)
    np.testing.assert_array_equal(codes, package.golden_codes)
    np.testing.assert_allclose(calorimeter.reference.target_rates, (0.01, 0.0025), rtol=0.1)
    assert calorimeter.reference.pileup_means is not None
    assert len(calorimeter.reference.feature_edges) == 252
    assert "cicada" in package.address_table


def test_the_score_tells_signals_better_than_the_sum_of_all_energies(calorimeter: Lab) -> None:
    """At the same rate of zero bias, 0.25 %."""
    background = calorimeter.events(200_000)
    codes = calorimeter.emulator.codes(background, calorimeter.nominal)
    for kind, least in (("resonance", 0.85), ("multilepton", 0.015)):
        signal = regions(Generator(6).draw_signal(kind, 20_000, PILEUP))
        passed = calorimeter.emulator.codes(signal, calorimeter.nominal) >= np.quantile(codes, 0.9975)
        summed = signal.sum(axis=1) >= np.quantile(background.sum(axis=1), 0.9975)
        assert passed.mean() > max(least, summed.mean() - 2 * (summed.mean() / len(signal)) ** 0.5), kind


def test_the_rate_feels_the_scale_and_ageing(calorimeter: Lab) -> None:
    for response in (Response(jet_energy_scale=-0.04), Response(ageing=0.2)):
        rates, _ = calorimeter.truth(calorimeter.nominal.words, response)
        assert (rates < 0.85).all()
