import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from firmware.board.board import RemoteBoard
from firmware.model import axol1tl
from firmware.model.model import Model
from firmware.model.payload import Payload
from firmware.tools.compiler import compiler
from firmware.tools.verilator import Verilator
from tests.support.builds import builds
from tests.support.forests import random_forest
from tests.support.places import DATA
from tests.support.rig import Bench, Rig

Events = NDArray[np.int64]
CUTS = (346, 389, 415, 456, 557)
collect_ignore = [] if "DRIFTD_CONTROLHUB" in os.environ else ["board/test_controlhub.py"]
"""A ControlHub is in no package of a system: its tests are there for who has one."""


@pytest.fixture(scope="session")
def shared_data() -> Path:
    if not DATA.is_dir():
        pytest.skip(f"the outside data are absent: no folder {DATA}")
    return DATA


@pytest.fixture(scope="session")
def model() -> Model:
    """A network of random weights in the shape and the types of AXOL1TL v4."""
    rng = np.random.default_rng(4)
    sizes = (57, 28, 15, 8)
    weights = [rng.normal(0, 0.4, (a, b)) for a, b in pairwise(sizes)]
    biases = [rng.normal(0, 0.3, b) for b in sizes[1:]]
    shift, offset = np.tile([5, 5, 6], 19), np.tile([30.0, 0.0, 72.5], 19)
    return axol1tl.model("random", weights, biases, shift, offset)


@pytest.fixture(scope="session")
def v4(shared_data: Path) -> Model:
    """CMS's AXOL1TL v4."""
    with np.load(shared_data / "axol1tl_v4_weights.npz") as w:
        return axol1tl.model(
            "axol1tl_v4",
            [w["w2"], w["w4"], w["w6"]],
            [w["b2"], w["b4"], w["b6"]],
            w["input_shift"],
            w["input_offset"],
        )


@pytest.fixture(scope="session")
def nominal(model: Model) -> Payload:
    return Payload.nominal(model, CUTS)


@pytest.fixture(scope="session")
def random_events() -> Callable[[Model, int, int], Events]:
    """Events of a model, number and seed: flat in every range, a fifth at corners of it, a fifth with half zeros."""

    def draw(model: Model, n: int, seed: int) -> Events:
        rng = np.random.default_rng(seed)
        low, high = model.limits
        events = rng.integers(low, high + 1, (n, model.n_features))
        corners = events[: n // 5]
        corners[:] = np.where(rng.random(corners.shape) < 0.5, low, high)
        sparse = events[n // 5 : 2 * (n // 5)]
        sparse[rng.random(sparse.shape) < 0.5] = 0
        return events

    return draw


@pytest.fixture(scope="session")
def random_payload() -> Callable[[Model, int], Payload]:
    """A payload of a model and seed: each field either near the nominal one or anywhere in its range."""

    def draw(model: Model, seed: int) -> Payload:
        rng = np.random.default_rng(seed)
        nominal = Payload.nominal(model, np.full(model.n_cuts, 300))
        raws = {}
        for field in model.layout.fields:
            low, high = field.type.min_raw, field.type.max_raw
            near = nominal.raw(field.name) + rng.normal(0, 0.02 * high, field.size).astype(np.int64)
            anywhere = rng.integers(low, high + 1, field.size)
            raws[field.name] = np.clip(near, low, high) if rng.random() < 0.7 else anywhere
        if model.forest is not None:
            raws["forest"] = random_forest(model.forest.shape, seed).words
        return nominal.replace(**raws)

    return draw


@pytest.fixture(scope="session")
def verilator() -> Verilator:
    found = Verilator.find()
    if found is None or compiler() is None:
        pytest.skip("no Verilator, or no C++ compiler for what it writes")
    return found


@pytest.fixture(scope="session")
def built_datapaths() -> Path:
    """Where datapaths are kept that one test has built and others want, in this run or a later one."""
    return builds()


@pytest.fixture(scope="session")
def rtl_cache(verilator: Verilator) -> Path:
    """The same for what Verilator builds, where there is one."""
    return builds()


@pytest.fixture
def rig(bench: Bench) -> Rig:
    """The rig of the module's `bench`, as new."""
    bench[0].power_on()
    return bench[0]


@pytest.fixture
def board(rig: Rig, bench: Bench) -> RemoteBoard:
    return bench[1]
