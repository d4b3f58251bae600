from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from firmware.datapath.emulator import Answers, Emulator
from firmware.model.payload import Payload
from firmware.sim.world.detector import Response
from recalib.fit.gates import Subject, verdicts, vetoes
from recalib.inputs.locality import Locality
from recalib.knobs.weights import bias_unit, trained_weights
from recalib.proposal import Gate
from recalib.request import FitSettings
from tests.recalib.conftest import Lab

JETS_DOWN = Response(jet_energy_scale=-0.08)
SETTINGS = FitSettings(rate_tolerance=0.15)


@pytest.fixture(scope="module")
def good(lab: Lab, scaled: Callable[..., Payload]) -> Subject:
    sample, payload = lab.sample(response=JETS_DOWN), scaled(jet=1.087)
    return Subject(
        lab.engine.loaded,
        None,
        SETTINGS,
        lab.nominal,
        payload,
        sample,
        lab.evidence(lab.nominal, sample),
        lab.evidence(payload, sample),
        len(sample),
        sample.n_eff,
        restores=True,
        locality=Locality(),
        typical=np.full(57, 40.0),
        moves={"jet": float(np.log(1.087))},
    )


def with_payload(lab: Lab, subject: Subject, payload: Payload) -> Subject:
    return replace(subject, payload=payload, after=lab.evidence(payload, subject.events))


def failed(subject: Subject) -> set[str]:
    return {gate.name for gate in verdicts(subject) if not (gate.passed or gate.advice)}


def gate_of(subject: Subject, name: str) -> Gate:
    return next(gate for gate in verdicts(subject) if gate.name == name)


def test_the_right_scale_passes_every_gate(good: Subject) -> None:
    assert failed(good) == set()


def test_every_verdict_has_its_number_limit_and_text(good: Subject) -> None:
    for gate in verdicts(good):
        assert np.isfinite([gate.value, gate.limit]).all()
        assert gate.text


def test_the_old_payload_itself_neither_moves_nor_lowers_the_kl(lab: Lab, good: Subject) -> None:
    assert {"kl", "minimal move"} <= failed(with_payload(lab, good, lab.nominal))


def test_the_wrong_direction_fails_on_kl_and_rates(lab: Lab, good: Subject, scaled: Callable[..., Payload]) -> None:
    assert {"kl", "rate 0", "rate 1"} <= failed(with_payload(lab, good, scaled(jet=0.9)))


def test_cuts_are_not_gated_on_the_kl(lab: Lab, good: Subject) -> None:
    moved = lab.nominal.replace(cuts=lab.nominal.raw("cuts") - 5)
    subject = replace(with_payload(lab, good, moved), restores=False)
    assert "kl" not in {gate.name for gate in verdicts(subject)}


def test_too_few_events_fail(good: Subject) -> None:
    assert failed(replace(good, n_events=100)) == {"events"}


def test_events_of_which_few_carry_the_weight_fail(good: Subject) -> None:
    assert failed(replace(good, n_eff=4_999.0)) == {"effective"}


def test_a_move_that_its_error_makes_doubtful_fails(good: Subject) -> None:
    """Where the fit knows its errors; without them the fall of the KL says enough."""
    move = good.moves["jet"]
    assert failed(replace(good, errors={"jet": move / 2})) == {"significant"}
    assert failed(replace(good, errors={"jet": move / 3})) == set()
    assert "significant" not in {gate.name for gate in verdicts(good)}


def test_one_significant_move_is_enough(good: Subject) -> None:
    moves = {"jet": 0.08, "eg": 0.001}
    assert failed(replace(good, moves=moves, errors={"jet": 0.01, "eg": 0.01})) == set()


def test_cuts_are_not_moved_for_a_rate_that_chance_explains(lab: Lab, good: Subject) -> None:
    lower = lab.nominal.replace(cuts=lab.nominal.raw("cuts") - 5)
    drifted = replace(with_payload(lab, good, lower), restores=False)
    assert gate_of(drifted, "significant").passed
    sample = lab.sample()
    undrifted = with_payload(lab, replace(drifted, events=sample, before=lab.evidence(lab.nominal, sample)), lower)
    assert not gate_of(undrifted, "significant").passed


def test_a_score_that_gets_much_steeper_fails(lab: Lab, good: Subject) -> None:
    """The scores of this drift are the same either way: what the gate sees is what an event might bring."""
    assert gate_of(good, "lipschitz").value == pytest.approx(1.087, abs=0.02)
    assert failed(replace(good, settings=replace(SETTINGS, max_lipschitz=1.05))) == {"lipschitz"}
    cuts = with_payload(lab, good, lab.nominal.replace(cuts=lab.nominal.raw("cuts") - 5))
    assert "lipschitz" not in {gate.name for gate in verdicts(replace(cuts, restores=False))}


def test_signals_are_told_and_veto_nothing(lab: Lab, good: Subject) -> None:
    """Cuts thrice as high would lose them; the gates on the rates say so, the advice does not."""
    high = with_payload(lab, good, lab.nominal.replace(cuts=lab.nominal.raw("cuts") * 3))
    advice = [gate for gate in verdicts(high) if gate.name.startswith("signal ")]
    assert {gate.name for gate in advice} == {f"signal {name}" for name in lab.package.signals}
    assert not any(gate.passed for gate in advice)
    assert all(gate.advice for gate in advice)
    before = lab.package.lineage["signal_efficiency"]["multilepton"][0]
    assert f"efficiency {before:.3f} → " in next(g for g in advice if g.name == "signal multilepton").text
    assert not set(vetoes(verdicts(high))) & {gate.text for gate in advice}


def test_a_package_without_signals_has_no_advice_on_them(good: Subject) -> None:
    package = replace(good.loaded.package, signals={})
    bare = replace(good, loaded=replace(good.loaded, package=package))
    assert not any(gate.name.startswith("signal ") for gate in verdicts(bare))


def test_a_local_excess_is_told_and_changes_no_verdict(good: Subject) -> None:
    found = Locality("84 % in one cell", "jets are missing")
    gate = gate_of(replace(good, locality=found), "local excess")
    assert (gate.passed, gate.advice, gate.text) == (False, True, "84 % in one cell; jets are missing")
    assert failed(replace(good, locality=found)) == set()


def test_a_rate_that_statistics_cannot_tell_fails(lab: Lab, good: Subject) -> None:
    """However near it lies by luck: the error itself must be within the tolerance."""
    part = good.events.take(np.arange(len(good.events))[::60])
    subject = replace(good, events=part, before=lab.evidence(good.base, part), after=lab.evidence(good.payload, part))
    assert "rate 1" in failed(subject)


@pytest.mark.parametrize(
    ("limits", "gate"),
    [
        ({"max_move": 0.05}, "move input_scale"),
        ({"max_total_move": 0.05}, "total input_scale"),
        ({"min_move": 0.2}, "minimal move"),
        ({"min_retention": 1.01}, "retention 0"),
    ],
)
def test_each_limit_is_enforced(good: Subject, limits: dict[str, Any], gate: str) -> None:
    assert gate in failed(replace(good, settings=replace(SETTINGS, **limits)))


def test_the_total_move_counts_from_nominal_and_not_from_the_last_payload(
    good: Subject, scaled: Callable[..., Payload]
) -> None:
    near = replace(good, base=scaled(jet=1.08), settings=replace(SETTINGS, max_total_move=0.05))
    assert "total input_scale" in failed(near)
    assert "move input_scale" not in failed(near)


def test_a_cut_that_leaps_is_for_a_human(lab: Lab, good: Subject) -> None:
    leap = lab.nominal.replace(cuts=lab.nominal.raw("cuts") * 3)
    assert "move cuts" in failed(with_payload(lab, good, leap))


class Faulty(Emulator):
    """A datapath with one wrong code."""

    def run(self, events: NDArray[Any], payload: Payload) -> Answers:
        words = super().run(events, payload)
        words.codes[7] ^= 1
        return words


def test_one_differing_word_of_the_datapath_is_enough(lab: Lab, good: Subject) -> None:
    same: Any = Emulator(lab.package.model)
    wrong: Any = Faulty(lab.package.model)
    assert failed(replace(good, datapath=same)) == set()
    assert failed(replace(good, datapath=wrong)) == {"datapath"}


def test_weights_are_gated_on_their_step_over_the_trained_norm(weighted: Lab) -> None:
    nominal, model = weighted.nominal, weighted.package.model
    weight, _ = trained_weights(model)
    row = int(np.argmax(np.linalg.norm(weight, axis=1)))
    for factor, fails in ((1.2, set()), (1.3, {"move weights"}), (0.5, {"move weights", "total weights"})):
        moved = weight.copy()
        moved[row] *= factor
        payload = nominal.replace_values(weights=moved.ravel(), biases=nominal.value("biases") + 0.1 * bias_unit(model))
        sample = weighted.sample()
        subject = Subject(
            weighted.engine.loaded,
            None,
            SETTINGS,
            nominal,
            payload,
            sample,
            weighted.evidence(nominal, sample),
            weighted.evidence(payload, sample),
            len(sample),
            sample.n_eff,
            restores=True,
            locality=Locality(),
            typical=np.full(57, 40.0),
            moves={"hidden0": factor - 1},
        )
        gates = {gate.name: gate for gate in verdicts(subject)}
        assert gates["move weights"].value == pytest.approx(abs(factor - 1), abs=0.005)
        assert gates["move biases"].value == pytest.approx(0.1, abs=0.01)
        moves = {name for name, gate in gates.items() if name.startswith(("move", "total")) and not gate.passed}
        assert moves == fails
