from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from firmware.board.nodes import parse_table
from firmware.sim.world.detector import Response
from firmware.sim.world.events import SIGNALS, Generator, digitise
from recalib.errors import TrainingError
from recalib.training.encoder import normalisation, train
from recalib.training.norms import gain
from recalib.training.train import TrainSettings, build_package
from tests.recalib.conftest import Lab

TINY = TrainSettings(training_events=8192, epochs=1, reference_events=60_000, pileup_edges=(30.0, 45.0, 60.0))


def drawn(n: int) -> np.ndarray:
    return digitise(Generator(5).draw(n, 40.0))


def test_the_same_seed_gives_the_same_model_and_another_seed_another() -> None:
    events = drawn(8192)
    ids = [train(seed, events, 2, epochs=1, progress=lambda text: None).id for seed in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]


def test_a_package_is_built_once_and_again_only_for_other_settings(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "tiny.driftd"
    said: list[str] = []
    first = build_package(path, TINY, said.append)
    assert said
    said.clear()
    assert build_package(path, TINY, said.append).id == first.id
    assert not said
    other = build_package(path, replace(TINY, seed=2), said.append)
    assert said
    assert other.model.id != first.model.id


def test_a_constrained_package_is_another_one_and_its_lineage_tells_the_gain(tmp_path: Path) -> None:
    free, held = (build_package(tmp_path / "a.driftd", replace(TINY, lipschitz=bound)) for bound in (None, 1.5))
    assert held.lineage["settings"]["lipschitz"] == 1.5
    assert held.lineage["gain"] == gain(held.model) <= 1.5 < free.lineage["gain"]


def test_a_damaged_package_is_built_anew(tmp_path: Path) -> None:
    path = tmp_path / "tiny.driftd"
    first = build_package(path, TINY)
    path.write_bytes(path.read_bytes()[:-200])
    assert build_package(path, TINY).id == first.id


def test_the_package_agrees_with_itself(lab: Lab) -> None:
    package, reference = lab.package, lab.reference
    np.testing.assert_array_equal(lab.emulator.codes(package.golden_events, package.nominal), package.golden_codes)
    assert reference.binning.cuts == tuple(package.nominal.raw("cuts"))
    np.testing.assert_allclose(reference.target_rates, (0.01, 0.0025), rtol=0.05)
    assert package.model.name in package.address_table


def test_the_score_tells_signals_from_background(lab: Lab) -> None:
    """At 0.25 % of the background: a resonance nearly always, the soft leptons ten times as often."""
    efficiency = lab.package.lineage["signal_efficiency"]
    assert efficiency["resonance"][1] > 0.8
    assert efficiency["multilepton"][1] > 0.025


def test_the_package_keeps_the_signals_from_which_its_efficiencies_are(lab: Lab) -> None:
    package = lab.package
    assert set(package.signals) == set(package.lineage["signal_efficiency"]) == set(SIGNALS)
    for name, events in package.signals.items():
        efficiency = lab.emulator.run(events, package.nominal).accepts.mean(axis=0)
        np.testing.assert_allclose(efficiency, package.lineage["signal_efficiency"][name])


def test_the_rate_feels_the_jet_scale(lab: Lab) -> None:
    rates, _ = lab.truth(lab.nominal.words, Response(jet_energy_scale=-0.08))
    assert (rates < 0.88).all()


def test_inputs_are_shifted_by_powers_of_two_near_their_spread() -> None:
    shift, offset = normalisation(drawn(20_000))
    assert shift.dtype == offset.dtype == np.int64
    assert (shift[27::3] == shift[27]).all(), "jets of one kind share a shift"
    assert 2 <= shift[27] <= 5


def test_a_loss_that_is_no_number_ends_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recalib.training.encoder.LEARNING_RATE", 1e30)
    monkeypatch.setattr("recalib.training.encoder.KL_WEIGHT", float("nan"))
    with pytest.raises(TrainingError, match="try another seed"):
        train(1, drawn(4096), 2, epochs=1, progress=lambda text: None)


def test_weights_in_registers_are_trained_on_their_finer_grid(tmp_path: Path) -> None:
    settings = replace(TINY, weights=True)
    weighted = build_package(tmp_path / "weights.driftd", settings)
    plain = build_package(tmp_path / "plain.driftd", TINY)
    assert "axol1tl.shadow.weights" in parse_table(weighted.address_table)
    last, frozen = (package.model.layers[-1] for package in (weighted, plain))
    assert last.reconfigurable
    assert not frozen.reconfigurable
    assert last.weight_type.frac > frozen.weight_type.frac
    assert (last.weight % (1 << last.weight_type.frac - frozen.weight_type.frac)).any()
    assert weighted.lineage["settings"]["weights"]


def test_only_the_encoder_has_weights_in_registers(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="weights for a cicada"):
        build_package(tmp_path / "c.driftd", replace(TINY, kind="cicada", weights=True))


def test_a_network_that_is_told_the_pile_up_depends_less_on_it_than_one_that_is_not(lab: Lab, told: Lab) -> None:
    """Rates above the cut for 1 % at a pile-up of 37.5: told the right one, told that one, and told none."""
    crossings = {pileup: digitise(Generator(77).draw(100_000, pileup)) for pileup in (25.0, 37.5, 55.0)}
    (condition,) = told.package.model.conditions

    def unevenness(of: Lab, follows: bool) -> float:
        rates, cut = [], np.quantile(of.emulator.codes(crossings[37.5], of.nominal), 0.99)
        for pileup, events in crossings.items():
            payload = of.nominal
            if follows:
                payload = payload.replace_values(conditioning=[condition.value(pileup)])
            rates.append((of.emulator.codes(events, payload) >= cut).mean())
        return float(np.log(rates).std())

    right, stale, untold = unevenness(told, True), unevenness(told, False), unevenness(lab, False)
    assert right < 0.6 * min(stale, untold)
