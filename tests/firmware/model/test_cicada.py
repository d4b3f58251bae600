"""The model of the calorimeter's regions, in every execution of the datapath."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from firmware.datapath.compiled import CompiledDatapath
from firmware.datapath.emulator import Emulator
from firmware.datapath.verilated import VerilatedDatapath
from firmware.errors import ModelError
from firmware.model import cicada
from firmware.model.model import Model
from firmware.model.parts import Rings
from firmware.model.payload import Payload
from firmware.sim.world.calorimeter import ETA_CENTRES, regions
from firmware.sim.world.events import Generator
from firmware.tools.compiler import compiler
from recalib.surrogate.surrogate import Surrogate
from tests.support.networks import differences

Draw = Callable[[Model, int], Payload]


@pytest.fixture(scope="module")
def model() -> Model:
    """Weights of either sign under which most scores are within the range, some at either end of it."""
    random = np.random.default_rng(4)
    weights = random.normal(0.0, 0.2, (252, 16)), random.normal(0.3, 0.6, (16, 1))
    return cicada.model("cicada", weights, [random.normal(0, 1, 16), [0.0]])


@pytest.fixture(scope="module")
def events() -> NDArray[np.int16]:
    """Crossings of all pile-ups, and a few at the ends of every region's range."""
    drawn = regions(Generator(9).draw(3000, np.random.default_rng(9).uniform(5, 70, 3000)))
    drawn[:10] = np.random.default_rng(1).choice([0, 1023], (10, 252))
    drawn[10], drawn[11] = 0, 1023
    return drawn


def test_the_nominal_payload_changes_nothing_and_scores_are_of_all_sizes(
    model: Model, events: NDArray[np.int16]
) -> None:
    words = Emulator(model).run(events, Payload.nominal(model, [400, 800]))
    np.testing.assert_array_equal(words.codes, words.core_codes)
    assert words.codes.min() == 0
    assert words.codes.max() == 4095
    assert ((words.codes > 0) & (words.codes < 4095)).mean() > 0.5


def test_the_score_is_never_negative(events: NDArray[np.int16]) -> None:
    model = cicada.model("low", [np.full((252, 16), 0.5), np.full((16, 1), -1.0)], [np.zeros(16), [-20.0]])
    assert not Emulator(model).codes(events, Payload.nominal(model, [1, 2])).any()


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_the_surrogate_gives_the_emulator_s_codes(
    model: Model, events: NDArray[np.int16], random_payload: Draw, seed: int
) -> None:
    payload = random_payload(model, seed)
    np.testing.assert_array_equal(Surrogate(model).codes(events, payload), Emulator(model).codes(events, payload))


@pytest.mark.skipif(compiler() is None, reason="no C++ compiler")
def test_the_compiled_datapath_agrees_on_every_word(
    model: Model, events: NDArray[np.int16], random_payload: Draw, built_datapaths: Path
) -> None:
    compiled = CompiledDatapath(model, built_datapaths)
    for payload in (Payload.nominal(model, [400, 800]), *(random_payload(model, seed) for seed in range(6))):
        assert differences(Emulator(model).run(events, payload), compiled.run(events, payload)) == [0, 0, 0, 0]


def test_the_hardware_agrees_on_every_word(
    model: Model, events: NDArray[np.int16], random_payload: Draw, rtl_cache: Path
) -> None:
    verilated = VerilatedDatapath(model, rtl_cache)
    for payload in (Payload.nominal(model, [400, 800]), random_payload(model, 1)):
        assert differences(Emulator(model).run(events, payload), verilated.run(events, payload)) == [0, 0, 0, 0]


def test_each_region_has_the_ring_of_its_place(model: Model) -> None:
    rings = model.fixed_rings("region")
    assert rings is not None
    assert [model.features[c].name for c in (0, 13, 14, 251)] == [
        "region_0_0",
        "region_0_13",
        "region_1_0",
        "region_17_13",
    ]
    np.testing.assert_array_equal(rings, np.tile(np.arange(len(ETA_CENTRES)), 18))
    assert not model.ring_registers("region")


def test_the_rings_survive_the_way_through_arrays(model: Model) -> None:
    again = Model.from_arrays(*model.to_arrays())
    assert (again.id, again.features) == (model.id, model.features)


@pytest.mark.parametrize("ring", [None, -1])
def test_a_region_without_a_ring_among_others_is_refused(model: Model, ring: int | None) -> None:
    first, *others = model.features
    with pytest.raises(ModelError, match="features of region: expected a ring of 0 or more for each energy"):
        replace(model, features=(replace(first, ring=ring), *others))


def test_rings_by_eta_are_refused_beside_fixed_ones(model: Model) -> None:
    with pytest.raises(ModelError, match="and no rings by its eta"):
        replace(model, rings=(Rings("region", 0, 4),))
