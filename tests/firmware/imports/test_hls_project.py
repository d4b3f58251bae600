import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from firmware.datapath.compiled import CompiledDatapath
from firmware.datapath.emulator import Emulator
from firmware.datapath.verilated import VerilatedDatapath
from firmware.errors import SpecificationError
from firmware.imports.hls_project import HlsProject
from firmware.imports.specification import Specification
from firmware.model.fixed import Fixed
from firmware.model.model import Model
from firmware.model.payload import Payload
from firmware.tools.compiler import compiler
from firmware.tools.verilator import Verilator
from tests.support.builds import built
from tests.support.hls_projects import Project, projects
from tests.support.networks import differences

Drawn = Callable[[Model, int, int], np.ndarray]

CUT: dict[str, Any] = {"cuts": {"codes": [100]}}

needs_compiler = pytest.mark.skipif(compiler() is None, reason="no C++ compiler")
needs_both = pytest.mark.skipif(Verilator.find() is None or compiler() is None, reason="no Verilator or C++ compiler")


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Any]]:
    """A project by name, written once, and hls4ml's model of it."""
    made: dict[str, tuple[Path, Any]] = {}

    def write(name: str) -> tuple[Path, Any]:
        if name not in made:
            folder = tmp_path_factory.mktemp("project")
            made[name] = folder, projects()[name].write(folder)
        return made[name]

    return write


def answered(folder: Path, graph: Any, events: np.ndarray) -> np.ndarray:
    """What the C++ of a project, compiled and run by hls4ml, gives for events (n, inputs)."""

    def run(path: Path) -> None:
        graph.compile()
        np.save(path, np.asarray(graph.predict(events)).reshape(len(events), -1))

    content = [HlsProject.open(folder).digest.encode(), events.tobytes()]
    return np.asarray(np.load(built("answers.npy", content, run)))


def imported(folder: Path, **given: Any) -> Model:
    return Specification.load(folder, CUT | given).model


@needs_compiler
@pytest.mark.parametrize("name", projects())
def test_every_word_is_that_of_the_projects_own_cpp(
    name: str, written: Callable[[str], tuple[Path, Any]], random_events: Drawn
) -> None:
    """Compiled and run by hls4ml itself, on events all over the range and at its corners."""
    folder, graph = written(name)
    model = imported(folder, score={"lift": False, "kind": "linear", "type": "ufixed<18,12>"})
    given = HlsProject.open(folder).input_type
    events = given.quantize(given.value(random_events(model, 5000, 3)))
    answers = answered(folder, graph, given.value(events).astype(np.float32))
    words = Emulator(model).run(events, Payload.nominal(model, [100]))
    latent = model.latent.result_type.value(words.latent)
    assert (latent.astype(np.float32) != answers).sum() == 0
    assert len(np.unique(latent)) > 30


@needs_both
@pytest.mark.parametrize(
    "name", ["all in ap_fixed<16,6>, merged batch norm", "batch norms of their own, rounded, in resource"]
)
def test_the_other_executions_agree_on_an_imported_project(
    name: str,
    written: Callable[[str], tuple[Path, Any]],
    built_datapaths: Path,
    random_events: Drawn,
    random_payload: Callable[[Model, int], Payload],
) -> None:
    model = imported(written(name)[0])
    emulator = Emulator(model)
    for datapath in (CompiledDatapath(model, built_datapaths), VerilatedDatapath(model, built_datapaths)):
        for seed in range(3):
            events, payload = random_events(model, 1000, seed), random_payload(model, seed)
            assert differences(datapath.run(events, payload), emulator.run(events, payload)) == [0, 0, 0, 0]


def test_a_signed_linear_score_is_lifted_so_that_no_code_is_lost(
    written: Callable[[str], tuple[Path, Any]], random_events: Drawn
) -> None:
    """The code of the lowest number is 0; negative outputs keep their order and their distance."""
    folder, _ = written("all in ap_fixed<16,6>, merged batch norm")
    model = imported(folder, score={"kind": "linear"})
    plain = imported(folder, score={"kind": "linear", "lift": False})
    events = random_events(model, 3000, 4)
    codes = Emulator(model).codes(events, Payload.nominal(model, [100]))
    latent = Emulator(plain).run(events, Payload.nominal(plain, [100])).latent[:, 0]
    np.testing.assert_array_equal(codes.astype(np.int64), latent + (1 << 15))
    assert (latent < 0).any()


def test_inputs_are_integers_with_a_point_and_have_names_where_they_are_given(
    written: Callable[[str], tuple[Path, Any]],
) -> None:
    folder, _ = written("all in ap_fixed<16,6>, merged batch norm")
    model = imported(folder)
    assert [feature.name for feature in model.features] == [f"x{i}" for i in range(6)]
    assert {feature.type for feature in model.features} == {Fixed(16, 16)}
    assert model.normalisation.shift.tolist() == [10] * 6
    objects = [{"name": "jet", "count": 3, "features": {"pt": "uint<11>", "eta": "int<9>"}}]
    named = imported(folder, objects=objects)
    assert [feature.name for feature in named.features] == [
        "jet0_pt",
        "jet0_eta",
        "jet1_pt",
        "jet1_eta",
        "jet2_pt",
        "jet2_eta",
    ]
    with pytest.raises(SpecificationError, match="2 features, but the project has 6 inputs"):
        imported(folder, objects=[{"name": "jet", "features": {"pt": "uint<11>", "eta": "int<9>"}}])
    with pytest.raises(SpecificationError, match=r"jet0_pt is ap_uint<16>, but an input of the project is ap_int<16>"):
        imported(folder, objects=[{"name": "jet", "count": 6, "features": {"pt": "uint<16>"}}])


REFUSED = {
    "nnet::sigmoid is not supported, expected one of dense": Project((nn.Linear(4, 1), nn.Sigmoid()), 4),
    "nnet::leaky_relu is not supported": Project((nn.Linear(4, 3), nn.LeakyReLU(), nn.Linear(3, 1)), 4),
    "layer _0: its sums may saturate in .*AP_SAT.*in another order": Project(
        (nn.Linear(4, 2),), 4, strategy="Resource", reuse=4, precision={"accum": "ap_fixed<8,2,AP_RND,AP_SAT>"}
    ),
    "written for the backend Quartus, expected Vivado or Vitis": Project((nn.Linear(4, 2),), 4, backend="Quartus"),
    "layer _0: the type _0_accum_t: width 70 is outside 1 to 62 bits": Project(
        (nn.Linear(4, 2),), 4, precision={"accum": "ap_fixed<70,30>"}
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_no_model_here_has_is_refused_by_the_layers_name(message: str, tmp_path: Path) -> None:
    REFUSED[message].write(tmp_path)
    with pytest.raises(SpecificationError, match=message):
        imported(tmp_path)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("anomaly.cpp", "(layer4_out,", "(layer2_out,", "takes layer2_out, expected layer4_out: layers in a row"),
        ("anomaly.cpp", "    nnet::relu<", "    other::relu<", "is no layer that is understood"),
        ("anomaly.cpp", "input_t input_1[6],", "input_t input_1[6], input_t more[6],", "has the ports input_1, more"),
        ("defines.h", "typedef ap_fixed<16,6> input_t;", "typedef float input_t;", "layer the input: the type input_t"),
        ("parameters.h", "struct config2 ", "struct config9 ", "layer _0: no struct config2 in parameters.h"),
        ("parameters.h", "nnet::DenseLatency", "nnet::dense_da", "layer _0: the kernel dense_da is not supported: use"),
        ("parameters.h", "product::mult", "product::both_binary", "layer _0: the product both_binary is not supported"),
        ("parameters.h", "product::mult", "product::weight_ternary", "the product weight_ternary is not supported"),
        ("parameters.h", "unsigned n_out = 8", "unsigned n_outs = 8", "layer _0: no n_out in config2 of parameters.h"),
        ("parameters.h", "_0_weight_t weight_t;", "_0_weight_t w_t;", "layer _0: the type weight_t: 'weight_t' is no"),
        ("weights/w2.txt", ",", " ", "weights/w2: could not convert string to float"),
        ("weights/b2.txt", ",", ", 1.0,", "layer _0: b2 holds [0-9]+ numbers, expected 8"),
    ],
)
def test_a_project_that_was_changed_is_refused_where_it_was(
    written: Callable[[str], tuple[Path, Any]], tmp_path: Path, file: str, old: str, new: str, message: str
) -> None:
    folder = tmp_path / "project"
    shutil.copytree(written("all in ap_fixed<16,6>, merged batch norm")[0], folder)
    path = folder / "firmware" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(SpecificationError, match=message):
        imported(folder)


def test_a_folder_without_a_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecificationError, match=r"hls4ml_config.yml: no file of an hls4ml project.*call `write\(\)`"):
        imported(tmp_path)


def test_every_file_that_is_read_is_in_the_digest(written: Callable[[str], tuple[Path, Any]], tmp_path: Path) -> None:
    folder = tmp_path / "project"
    shutil.copytree(written("all in ap_fixed<16,6>, merged batch norm")[0], folder)
    before = Specification.load(folder, CUT).digest
    weights = folder / "firmware" / "weights" / "w2.txt"
    weights.write_text(weights.read_text().replace("1", "2", 1))
    assert Specification.load(folder, CUT).digest != before
