"""Drifts as text and in time, the fill and the bunch mask."""

import csv
import math
from typing import Any

import numpy as np
import pytest

from firmware.errors import WorldError
from firmware.sim.world.beam import Fill, bunch_mask
from firmware.sim.world.drifts import LIMITS, Drift, Drifts
from tests.support.places import DATA

FILL_6360 = DATA / "pileup_fill_6360.csv"


def test_a_condition_is_read_from_text() -> None:
    assert Drift.parse("jet_energy_scale=-0.08") == Drift("jet_energy_scale", -0.08)
    assert Drift.parse(" ageing=0.3  ramp=20 ", since=7) == Drift("ageing", 0.3, ramp=20, since=7)


@pytest.mark.parametrize("kind", LIMITS)
def test_every_kind_is_read_back_from_its_own_text(kind: str) -> None:
    drift = Drift(kind, 0.25, ramp=3)
    assert Drift.parse(str(drift)) == drift


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not <name>=<number>"),
        ("ageing", "'ageing' is not <name>=<number>, such as jet_energy_scale=-0.08"),
        ("ageing=much", "'ageing=much' is not"),
        ("ageing=nan", "'ageing=nan' is not"),
        ("weather=1", "unknown condition 'weather', expected one of jet_energy_scale"),
        ("ageing=2", r"ageing=2 is outside \[0, 1\]"),
        ("ageing=0.3 slope=2", "option 'slope=2' of ageing, expected ramp=<lumi sections>"),
        ("ageing=0.3 ramp=-1", "option 'ramp=-1'"),
        ("ageing=0.3 ramp=1.5", "option 'ramp=1.5'"),
    ],
)
def test_a_faulty_text_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(WorldError, match=message):
        Drift.parse(text)


def test_a_sudden_condition_is_there_at_once_and_stays() -> None:
    drift = Drift("eg_scale", 0.05, since=10)
    assert [drift.at(ls) for ls in (1, 9, 10, 11, 999)] == [0, 0, 0.05, 0.05, 0.05]


def test_a_ramp_grows_evenly() -> None:
    drift = Drift("ageing", 0.4, ramp=4, since=10)
    assert [drift.at(ls) for ls in range(9, 15)] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.4])


def test_a_new_condition_replaces_the_one_of_its_kind() -> None:
    drifts = Drifts().adding(Drift("ageing", 0.1)).adding(Drift("eg_scale", 0.2))
    drifts = drifts.adding(Drift("ageing", 0.3))
    assert drifts.at(1).ageing == 0.3
    assert drifts.without("ageing").at(1).ageing == 0
    assert drifts.without("ageing").at(1).eg_scale == 0.2


def test_pile_up_is_shifted_or_set() -> None:
    shifted = Drifts((Drift("pileup_shift", 0.2, since=5),))
    assert [shifted.pileup(ls, 50) for ls in (4, 5)] == [50, 60]
    ramped = Drifts((Drift("pileup", 60, ramp=2, since=5),))
    assert [ramped.pileup(ls, 40) for ls in (4, 5, 6, 7)] == [40, 50, 60, 60]
    assert ramped.at(7) == Drifts().at(7)


def test_a_fill_decays_to_its_floor() -> None:
    fill = Fill(start=60, decay=100, floor=10, since=5)
    assert fill.pileup(1) == fill.pileup(5) == 60
    assert fill.pileup(105) == pytest.approx(10 + 50 / math.e)
    assert fill.pileup(100_000) == pytest.approx(10)


@pytest.mark.parametrize(
    "faulty", [{"start": 5.0, "floor": 10.0}, {"decay": 0.0}, {"floor": -1.0}, {"start": math.nan}]
)
def test_an_impossible_fill_is_refused(faulty: dict[str, Any]) -> None:
    with pytest.raises(WorldError, match="expected 0 <= floor <= start"):
        Fill(**faulty)


@pytest.mark.skipif(not FILL_6360.exists(), reason="needs ../shared/data/pileup_fill_6360.csv")
def test_the_default_fill_follows_a_real_one() -> None:
    with FILL_6360.open() as file:
        pileup = np.array([float(row[7]) for row in csv.reader(file) if not row[0].startswith("#")])
    model = np.array([Fill().pileup(1 + ls) for ls in range(len(pileup))])
    assert np.abs(model / pileup - 1).mean() < 0.07


def test_the_bunch_mask_is_that_of_an_lhc_fill() -> None:
    mask = bunch_mask()
    assert mask.shape == (3564,)
    assert mask.sum() == 2556
    edges = np.flatnonzero(np.diff(np.r_[0, mask, 0]))
    starts, stops = edges[::2], edges[1::2]
    assert set(stops - starts) == {12, 48, 72}
    assert set(starts[1:] - stops[:-1]) == {7, 31}
    assert 3564 - stops[-1] >= 120
