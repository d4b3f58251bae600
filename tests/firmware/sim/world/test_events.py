"""The event generator and the trigger primitives made of it."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from firmware.sim.world.detector import EG, JET, MET_TOP, MU, WIDTH, Response
from firmware.sim.world.drifts import Drift, Drifts
from firmware.sim.world.events import SIGNALS, Generator, Truth, digitise

Events = NDArray[np.int16]
N = 20_000
HARD = 20
"""p_T code of 10 GeV."""
COLUMNS = {"eg": slice(1, 5), "mu": slice(5, 9), "jet": slice(9, 19)}


@pytest.fixture(scope="module")
def truth() -> Truth:
    return Generator(7).draw(N, 50)


@pytest.fixture(scope="module")
def nominal(truth: Truth) -> Events:
    return digitise(truth)


def part(events: Events, name: str) -> tuple[Events, Events, Events]:
    pt, eta, phi = events.reshape(-1, 19, 3)[:, COLUMNS[name]].transpose(2, 0, 1)
    return pt, eta, phi


def met(events: Events) -> Events:
    return events[:, 0]


def test_events_are_57_hardware_integers_within_their_types(nominal: Events) -> None:
    assert nominal.shape == (N, WIDTH)
    assert nominal.dtype == np.int16
    assert (nominal[:, 1] == 0).all()
    assert 0 <= nominal[:, 0].min() <= nominal[:, 0].max() <= MET_TOP
    assert 0 <= nominal[:, 2].min() <= nominal[:, 2].max() <= 143
    for name, top, eta_top, phi_codes in (
        ("eg", 511, 69, 144),
        ("mu", 511, 225, 576),
        ("jet", 2047, 115, 144),
    ):
        pt, eta, phi = part(nominal, name)
        assert pt.min() == 0
        assert pt.max() <= top
        assert eta_top * 0.9 < np.abs(eta).max() <= eta_top
        assert phi.min() >= 0
        assert phi_codes * 0.98 < phi.max() < phi_codes


@pytest.mark.parametrize("name", COLUMNS)
def test_objects_are_ordered_and_padded_with_zeros(nominal: Events, name: str) -> None:
    pt, eta, phi = part(nominal, name)
    assert (np.diff(pt, axis=1) <= 0).all()
    assert (eta[pt == 0] == 0).all()
    assert (phi[pt == 0] == 0).all()
    assert (pt[:, -1] == 0).any()


def test_the_spectrum_falls(nominal: Events) -> None:
    leading = part(nominal, "jet")[0][:, 0]
    shares = [(leading > code).mean() for code in (40, 80, 160, 320)]
    assert all(a > 3 * b for a, b in pairwise(shares))
    assert shares[-1] > 0


def test_p_t_saturates_at_the_top_code(truth: Truth) -> None:
    huge = Truth(**{name: getattr(truth, name) for name in Truth.__dataclass_fields__} | {"pt": truth.pt * 1e4})
    events = digitise(huge)
    assert part(events, "jet")[0].max() == JET.pt_top
    assert part(events, "eg")[0].max() == EG.pt_top
    assert part(events, "mu")[0].max() == MU.pt_top
    assert met(events).max() == MET_TOP


def test_leading_jets_are_back_to_back(nominal: Events) -> None:
    pt, _, phi = part(nominal, "jet")
    dijet = (pt[:, 1] > 100) & (pt[:, 2] < 50)
    apart = np.abs((phi[dijet, 0] - phi[dijet, 1] + 72) % 144 - 72)
    assert dijet.sum() > 50
    assert np.median(apart) > 60


def test_activity_and_met_grow_with_pile_up() -> None:
    low, high = (digitise(Generator(3).draw(N, pileup)) for pileup in (20, 60))
    jets = [(part(events, "jet")[0] > HARD).sum(axis=1).mean() for events in (low, high)]
    assert jets[1] > 1.8 * jets[0]
    assert np.median(met(high)) > 1.3 * np.median(met(low))


def test_pile_up_may_differ_from_event_to_event() -> None:
    pileup = np.repeat([10.0, 70.0], N // 2)
    jets = (part(digitise(Generator(3).draw(N, pileup)), "jet")[0] > HARD).sum(axis=1)
    assert jets[N // 2 :].mean() > 3 * jets[: N // 2].mean()


def test_the_same_seed_and_calls_give_the_same_bytes() -> None:
    def sequence(seed: int) -> bytes:
        generator = Generator(seed)
        return (
            digitise(generator.draw(100, 40)).tobytes() + digitise(generator.draw_signal("resonance", 50, 30)).tobytes()
        )

    assert sequence(4) == sequence(4) != sequence(5)


def test_the_first_draw_does_not_depend_on_what_is_drawn_later_or_digitised() -> None:
    generator = Generator(4)
    first = generator.draw(100, 40)
    digitise(first, Response(jet_energy_scale=0.1, hot_tower=0.5))
    generator.draw(10, 40)
    np.testing.assert_array_equal(digitise(first), digitise(Generator(4).draw(100, 40)))


def test_signals_stand_out_in_different_ways(nominal: Events) -> None:
    resonance, multilepton = (digitise(Generator(5).draw_signal(kind, 4000, 50)) for kind in SIGNALS)
    assert np.median(part(resonance, "jet")[0][:, 0]) > 5 * np.median(part(nominal, "jet")[0][:, 0])
    assert (part(resonance, "mu")[0] > 0).sum(axis=1).mean() < 0.2
    assert (part(multilepton, "mu")[0] > 0).sum(axis=1).mean() > 2
    assert np.median(part(multilepton, "jet")[0][:, 0]) < 3 * np.median(part(nominal, "jet")[0][:, 0])


def test_an_unknown_signal_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown signal 'higgs', expected one of resonance, multilepton"):
        Generator(1).draw_signal("higgs", 1, 50)


def test_no_drift_gives_the_undrifted_twin(truth: Truth, nominal: Events) -> None:
    np.testing.assert_array_equal(digitise(truth, Response()), nominal)
    np.testing.assert_array_equal(digitise(truth, Drifts().at(5)), nominal)


def test_digitising_leaves_the_truth_as_it_is(truth: Truth, nominal: Events) -> None:
    digitise(truth, Response(-0.1, 0.1, 1.0, 0.5, 1.0, 0.5))
    np.testing.assert_array_equal(digitise(truth), nominal)


def jet_energy(events: Events, low: float = 0.0, high: float = 9.0) -> int:
    pt, eta, _ = part(events, "jet")
    central = (np.abs(eta) * JET.eta_lsb >= low) & (np.abs(eta) * JET.eta_lsb < high)
    return int(pt[central].sum())


def test_a_jet_energy_shift_moves_jets_and_met_but_not_leptons(truth: Truth, nominal: Events) -> None:
    drifted = digitise(truth, Response(jet_energy_scale=-0.08))
    np.testing.assert_array_equal(drifted[:, 3:27], nominal[:, 3:27])
    shift = part(drifted, "jet")[0][:, 0].mean() / part(nominal, "jet")[0][:, 0].mean() - 1
    assert -0.13 < shift < -0.04
    assert (met(drifted) != met(nominal)).mean() > 0.3


def test_a_jet_energy_shift_depends_on_eta_and_smears() -> None:
    truth = Generator(11).draw(5 * N, 50)
    before, eta, _ = (values[:, 0] for values in part(digitise(truth), "jet"))
    after, eta_after, _ = (values[:, 0] for values in part(digitise(truth, Response(-0.08)), "jet"))
    same = (before > 80) & (eta == eta_after)
    ratio, ring = after[same] / before[same], np.rint(2 * eta[same] * JET.eta_lsb)
    rings = [ratio[ring == r] for r in range(-6, 7)]
    assert np.std([ring.mean() for ring in rings]) > 0.012
    assert 0.025 < np.mean([ring.std() for ring in rings]) < 0.05


def test_an_eg_shift_moves_eg_alone(truth: Truth, nominal: Events) -> None:
    drifted = digitise(truth, Response(eg_scale=0.05))
    assert part(drifted, "eg")[0].sum() > 1.02 * part(nominal, "eg")[0].sum()
    np.testing.assert_array_equal(drifted[:, 15:], nominal[:, 15:])
    np.testing.assert_array_equal(drifted[:, :3], nominal[:, :3])


def test_met_noise_moves_met_alone(truth: Truth, nominal: Events) -> None:
    drifted = digitise(truth, Response(met_noise=1.0))
    assert met(drifted).mean() > 1.1 * met(nominal).mean()
    np.testing.assert_array_equal(drifted[:, 3:], nominal[:, 3:])


def test_ageing_costs_more_forward(truth: Truth, nominal: Events) -> None:
    drifted = digitise(truth, Response(ageing=0.3))
    kept = [jet_energy(drifted, *eta) / jet_energy(nominal, *eta) for eta in ((0, 1), (1.5, 2.5), (3, 5))]
    assert kept[0] > 0.95
    assert kept[0] > kept[1] + 0.1 > kept[2] + 0.2
    np.testing.assert_array_equal(part(drifted, "mu")[0], part(nominal, "mu")[0])


def test_a_dead_region_loses_what_points_there_and_keeps_the_rest(truth: Truth, nominal: Events) -> None:
    drifted = digitise(truth, Response(dead_phi=0.6))
    low, high = (round((4.0 + side * 0.3) * 144 / (2 * np.pi)) for side in (-1, 1))
    pt, _, phi = part(drifted, "jet")
    inside = (pt > 0) & (phi > low) & (phi < high - 1)
    assert not inside.any()
    lost = 1 - (pt > 0).sum() / (part(nominal, "jet")[0] > 0).sum()
    assert 0.07 < lost < 0.12
    assert met(drifted).mean() > met(nominal).mean()


def test_a_hot_tower_fakes_a_jet_and_an_eg_at_one_place(truth: Truth, nominal: Events) -> None:
    drifted = digitise(truth, Response(hot_tower=0.1))
    changed = (drifted != nominal).any(axis=1)
    assert 0.09 < changed.mean() < 0.11
    for name, scale in (("eg", EG), ("jet", JET)):
        _, eta, phi = part(drifted[changed], name)
        there = (eta == round(1.6 / scale.eta_lsb)) & (phi == int(2.2 * 144 / (2 * np.pi)))
        assert there.any(axis=1).all()


def test_conditions_act_from_their_lumi_section_on(truth: Truth, nominal: Events) -> None:
    drifts = Drifts((Drift.parse("jet_energy_scale=-0.08", since=12),))
    np.testing.assert_array_equal(digitise(truth, drifts.at(11)), nominal)
    assert jet_energy(digitise(truth, drifts.at(12))) < 0.97 * jet_energy(nominal)
