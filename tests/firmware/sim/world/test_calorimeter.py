"""The calorimeter's regions, beside the objects of the same crossings."""

import numpy as np
import pytest
from numpy.typing import NDArray

from firmware.model.cicada import N_ETA, N_PHI
from firmware.sim.world.calorimeter import ET_TOP, ETA_CENTRES, ETA_EDGES, PHI_CENTRES, REGIONS, regions
from firmware.sim.world.detector import JET, MU, NOMINAL, Response, Truth, mean_response
from firmware.sim.world.events import SIGNALS, VIEWS, Generator, digitise

N = 20_000


@pytest.fixture(scope="module")
def truth() -> Truth:
    return Generator(7).draw(N, 50)


@pytest.fixture(scope="module")
def nominal(truth: Truth) -> NDArray[np.int16]:
    return regions(truth)


def image(codes: NDArray[np.int16]) -> NDArray[np.int16]:
    return codes.reshape(-1, N_PHI, N_ETA)


def with_objects(truth: Truth, **columns: tuple[int, float, float, float]) -> Truth:
    """The truth with nothing but one object in each event: column, p_T, η and φ."""
    arrays = {name: np.array(getattr(truth, name)) for name in ("pt", "eta", "phi", "soft", "interactions")}
    for name in ("pt", "soft", "interactions"):
        arrays[name][:] = 0
    for column, pt, eta, phi in columns.values():
        arrays["pt"][:, column], arrays["eta"][:, column], arrays["phi"][:, column] = pt, eta, phi
    return Truth(**{name: getattr(truth, name) for name in Truth.__dataclass_fields__} | arrays)


def test_a_crossing_is_252_codes_of_10_bits(truth: Truth, nominal: NDArray[np.int16]) -> None:
    assert nominal.shape == (N, REGIONS) == (N, 252)
    assert nominal.dtype == np.int16
    assert nominal.min() == 0
    assert nominal.max() <= ET_TOP
    huge = Truth(**{name: getattr(truth, name) for name in Truth.__dataclass_fields__} | {"pt": truth.pt * 1e3})
    assert regions(huge).max() == ET_TOP
    assert VIEWS[252] is regions


def test_the_same_crossings_give_the_same_bytes_whatever_is_drawn_or_seen_before(nominal: NDArray[np.int16]) -> None:
    again = Generator(7)
    truth = again.draw(N, 50)
    again.draw(10, 50)
    digitise(truth, Response(jet_energy_scale=0.1))
    np.testing.assert_array_equal(regions(truth), nominal)
    np.testing.assert_array_equal(regions(truth, NOMINAL), nominal)
    assert (regions(Generator(8).draw(N, 50)) != nominal).any()


def test_two_draws_of_a_generator_have_nothing_in_common() -> None:
    source = Generator(7)
    first, second = (codes - codes.mean(axis=0) for codes in (regions(soft(source.draw(2000, 50))) for _ in range(2)))
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.01


def soft(truth: Truth) -> Truth:
    """Without its objects."""
    return Truth(**{name: getattr(truth, name) for name in Truth.__dataclass_fields__} | {"pt": 0 * truth.pt})


@pytest.mark.parametrize("eta", [-2.9, -1.3, 0.0, 0.5, 2.0])
@pytest.mark.parametrize("phi", [0.02, 3.0, 6.25])
def test_a_jet_lies_in_the_regions_around_it_and_all_of_it(truth: Truth, eta: float, phi: float) -> None:
    codes = image(regions(with_objects(truth, jet=(JET.columns.start, 200.0, eta, phi))))[0].astype(float)
    hit = np.argwhere(codes)
    assert 1 <= len(hit) <= 4
    around = np.abs(np.mod(PHI_CENTRES[hit[:, 0]] - phi + np.pi, 2 * np.pi) - np.pi)
    assert around.max() <= 2 * np.pi / 18
    assert (np.abs(ETA_CENTRES[hit[:, 1]] - eta) <= np.diff(ETA_EDGES)[hit[:, 1]] + 0.1).all()
    if abs(eta) < 2.5:
        assert codes.sum() == pytest.approx(400, abs=2)
    else:
        assert 200 <= codes.sum() < 400, "part of it is beyond the last ring"


def test_muons_and_jets_beyond_the_rings_leave_nothing(truth: Truth) -> None:
    assert not regions(with_objects(truth, mu=(MU.columns.start, 80.0, 0.5, 1.0))).any()
    assert not regions(with_objects(truth, jet=(JET.columns.start, 80.0, 4.0, 1.0))).any()


def test_the_hardest_jet_of_the_objects_lies_in_the_regions_too(truth: Truth, nominal: NDArray[np.int16]) -> None:
    jets = digitise(truth).reshape(-1, 19, 3)[:, 9]
    hard = (jets[:, 0] > 80) & (np.abs(jets[:, 1]) * JET.eta_lsb < 2)
    wedges = jets[hard, 2, None] * 18 // 144 + np.array([-1, 0, 1])
    there = np.take_along_axis(image(nominal)[hard].sum(axis=2), wedges % 18, axis=1).sum(axis=1)
    assert hard.sum() > 100
    assert (there >= jets[hard, 0] - 2).mean() > 0.99


def test_the_regions_balance_met(truth: Truth, nominal: NDArray[np.int16]) -> None:
    """Where all jets are within the rings, the vector sum of the regions is minus the objects' MET."""
    within = (np.abs(truth.eta[:, JET.columns]) < 2.7) | (truth.pt[:, JET.columns] < 2)
    inside = within.all(axis=1)
    by_phi = image(nominal)[inside].sum(axis=2)
    met = digitise(truth)[inside][:, [0, 2]].astype(float)
    angle = (met[:, 1] + 0.5) * 2 * np.pi / 144
    for ours, theirs in ((np.cos(PHI_CENTRES), np.cos(angle)), (np.sin(PHI_CENTRES), np.sin(angle))):
        assert inside.sum() > 300
        assert np.corrcoef(-by_phi @ ours, met[:, 0] * theirs)[0, 1] > 0.9


def test_more_pile_up_is_more_energy_in_more_regions() -> None:
    low, high = (regions(Generator(3).draw(N, pileup)) for pileup in (20, 60))
    assert high.sum() > 2 * low.sum()
    assert (high > 0).mean() > 1.5 * (low > 0).mean()


def test_regions_are_alike_in_phi_and_in_both_halves(nominal: NDArray[np.int16]) -> None:
    means = image(nominal).mean(axis=0)
    np.testing.assert_allclose(means.mean(axis=1), means.mean(), rtol=0.02)
    np.testing.assert_allclose(means.mean(axis=0), means.mean(axis=0)[::-1], rtol=0.04)


@pytest.mark.parametrize("response", [Response(jet_energy_scale=-0.08), Response(ageing=0.4)])
def test_a_scale_acts_by_ring_as_on_the_objects(truth: Truth, nominal: NDArray[np.int16], response: Response) -> None:
    """Each ring loses what its mean response says, within what rounding and the smearing of jets leave."""
    left = image(regions(truth, response)).mean(axis=(0, 1)) / image(nominal).mean(axis=(0, 1))
    np.testing.assert_allclose(left, mean_response(response, ETA_CENTRES), atol=0.02)
    assert np.ptp(left) > 0.05


def test_a_dead_region_is_silent(truth: Truth, nominal: NDArray[np.int16]) -> None:
    left = image(regions(truth, Response(dead_phi=1.2))).mean(axis=(0, 2)) / image(nominal).mean(axis=(0, 2))
    away = np.abs(PHI_CENTRES - 4.0)
    assert (left[away < 0.4] == 0).all()
    np.testing.assert_allclose(left[away > 1.2], 1, atol=0.03)


def test_a_hot_tower_lights_one_place(truth: Truth, nominal: NDArray[np.int16]) -> None:
    more = image(regions(truth, Response(hot_tower=0.05))).mean(axis=0) - image(nominal).mean(axis=0)
    phi, eta = np.unravel_index(more.argmax(), more.shape)
    assert ETA_EDGES[eta] < 1.6 < ETA_EDGES[eta + 1]
    assert abs(PHI_CENTRES[phi] - 2.2) < np.pi / 18
    assert more[phi, eta] > 10 * np.sort(more.ravel())[-6]


def test_met_noise_moves_energy_to_a_side_and_adds_none(truth: Truth, nominal: NDArray[np.int16]) -> None:
    noisy = regions(truth, Response(met_noise=2.0))
    assert noisy.sum() == pytest.approx(nominal.sum(), rel=0.01)
    lean = [
        np.hypot(*(image(codes).sum(axis=2) @ f(PHI_CENTRES) for f in (np.cos, np.sin))) for codes in (noisy, nominal)
    ]
    assert lean[0].mean() > 1.2 * lean[1].mean()


def test_an_eg_scale_moves_a_part_of_the_jets(truth: Truth, nominal: NDArray[np.int16]) -> None:
    shifted = regions(truth, Response(eg_scale=0.2))
    assert 1.005 < shifted.sum() / nominal.sum() < 1.05


def test_signals_leave_more_than_the_background(nominal: NDArray[np.int16]) -> None:
    for kind in SIGNALS:
        signal = regions(Generator(5).draw_signal(kind, 2000, 50))
        assert signal.sum(axis=1).mean() > 1.2 * nominal.sum(axis=1).mean()
