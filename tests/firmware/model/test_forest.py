"""A forest's words: what is proven of them, how they are walked, and that every execution walks them alike."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.board.addresses import address_table
from firmware.board.register_map import ACTIVE, SHADOW
from firmware.datapath.compiled import CompiledDatapath
from firmware.datapath.emulator import Emulator
from firmware.datapath.validation import Validation
from firmware.errors import ForestError, ModelError, PayloadError, RtlMissing
from firmware.model.fixed import Fixed
from firmware.model.forest import Column, Forest, Nodes, Walker
from firmware.model.fpu import SHAPE
from firmware.model.model import Model
from firmware.model.payload import Payload
from firmware.rtl import datapath as rtl
from firmware.tools.compiler import compiler
from tests.support.forests import SMALL, forest_model, random_forest, walked
from tests.support.networks import differences

Drawn = Callable[[Model, int, int], np.ndarray]
FOREST = random_forest(SMALL, 1)


def with_node(tree: int, node: int, **parts: int) -> np.ndarray:
    """The words of `FOREST` with another node."""
    nodes = FOREST.nodes._replace(**{name: getattr(FOREST.nodes, name).copy() for name in parts})
    for name, value in parts.items():
        getattr(nodes, name)[tree, node] = value
    return nodes.words.ravel()


def leaf_of(tree: int) -> int:
    return int(np.flatnonzero(~FOREST.nodes.inner[tree])[0])


@pytest.mark.parametrize(
    ("parts", "fault"),
    [
        ({"left": 0}, r"tree 2, node 1: its children are not behind it"),
        ({"left": 1}, r"tree 2, node 1: its children are not behind it"),
        ({"left": 15}, r"tree 2, node 1: a child is outside the 16 nodes"),
        ({"left": 200}, r"tree 2, node 1: a child is outside the 16 nodes"),
        ({"feature": 6}, r"tree 2, node 1: it cuts on none of the 6 features"),
        ({"inner": 0}, r"tree 2, node 1: it is a leaf with a child or a feature"),
        ({"value": 2048}, r"tree 2, node 1: its value is outside"),
    ],
    ids=["cycle", "self-loop", "sibling outside", "child outside", "feature", "leaf with children", "threshold"],
)
def test_a_node_that_a_walk_would_not_survive_is_refused_by_tree_node_and_fault(
    parts: dict[str, int], fault: str
) -> None:
    assert FOREST.nodes.inner[2, 1]
    with pytest.raises(ForestError, match=fault):
        Forest(SMALL, with_node(2, 1, **parts))


def test_a_path_without_a_leaf_within_the_depth_is_refused() -> None:
    words = np.zeros((4, 16), np.uint32)
    chain = Nodes(np.zeros(4, np.int64), np.array([1, 3, 5, 7]), np.zeros(4, np.int64), np.ones(4, np.bool_)).words
    words[3, [0, 1, 3]] = chain[[0, 1, 2]]
    Forest(SMALL, words.ravel())
    words[3, 5] = chain[3]
    with pytest.raises(ForestError, match="tree 3, node 5: no leaf within 3 decisions"):
        Forest(SMALL, words.ravel())


def test_scores_whose_sum_might_overflow_are_refused() -> None:
    words = np.zeros((4, 16), np.int64)
    words[:, 0] = (128, 127, 128, 128)
    Forest(SMALL, words.ravel())
    words[1, 0] = 129
    with pytest.raises(ForestError, match=r"add up to 513 to 513, beyond -512 to 511"):
        Forest(SMALL, words.ravel())
    words[:, 0] = -128 & 0xFFFF
    Forest(SMALL, words.ravel())


def test_words_of_zero_are_a_forest_of_score_zero() -> None:
    walk = Walker(SMALL, np.zeros(SMALL.size, np.uint32))
    assert not walk(np.zeros((3, 6), np.int64)).any()


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 20),
    st.lists(st.tuples(st.integers(0, SMALL.size - 1), st.integers(0, 31)), min_size=1, max_size=6),
)
def test_flipped_bits_are_refused_or_a_forest_that_every_walk_through_ends(
    seed: int, flips: list[tuple[int, int]]
) -> None:
    words = random_forest(SMALL, seed).words.copy()
    for at, bit in flips:
        words[at] ^= np.uint32(1 << bit)
    try:
        forest = Forest(SMALL, words)
    except ForestError:
        return
    x = np.random.default_rng(seed).integers(-2048, 2048, (5, 6))
    assert Walker(SMALL, words)(x).tolist() == [walked(forest, event) for event in x]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 2**32 - 1), min_size=SMALL.size, max_size=SMALL.size))
def test_any_words_are_a_forest_or_refused_with_the_reason(words: list[int]) -> None:
    try:
        forest = Forest(SMALL, np.array(words, np.uint32))
    except ForestError:
        return
    assert walked(forest, np.zeros(6, np.int64)) == Walker(SMALL, forest.words)(np.zeros((1, 6), np.int64))[0]


def test_the_walk_is_that_of_the_nodes_one_by_one() -> None:
    forest = random_forest(SHAPE, 7, inner=0.8)
    x = np.random.default_rng(1).integers(-32768, 32768, (50, SHAPE.n_features))
    x[:10] = np.random.default_rng(2).integers(0, 200, (10, SHAPE.n_features))
    assert Walker(SHAPE, forest.words)(x).tolist() == [walked(forest, event) for event in x]


def test_an_input_at_its_threshold_goes_left() -> None:
    words = np.zeros((4, 16), np.uint32)
    words[0, :3] = Nodes(
        np.array([5, -1, 1]), np.array([1, 0, 0]), np.array([2, 0, 0]), np.array([True, False, False])
    ).words
    walk = Walker(SMALL, words)
    assert walk(np.array([[9, 9, x, 9, 9, 9] for x in (4, 5, 6)])).tolist() == [-1, -1, 1]


@pytest.mark.parametrize("seed", range(5))
def test_the_way_through_conifers_nodes_loses_nothing(seed: int) -> None:
    forest = random_forest(SMALL, seed, inner=0.8)
    nodes, roots = forest.to_conifer()
    assert nodes.dtype == np.int32
    assert (Forest.from_conifer(SMALL, nodes, roots).words == forest.words).all()
    assert (Forest.from_json(SMALL, forest.to_json()).words == forest.words).all()


def test_conifers_own_order_and_several_trees_to_an_engine_give_the_same_walks() -> None:
    forest = random_forest(SMALL, 4)
    nodes, _ = forest.to_conifer()
    random = np.random.default_rng(1)
    engines = np.zeros((2, 40, 7), np.int64)
    engines[..., [Column.SCORE, Column.FEATURE, Column.LEFT, Column.RIGHT, Column.IS_LEAF]] = 77, -2, -1, -1, 1
    roots = np.zeros((2, 3), np.int64)
    for tree, of in enumerate(nodes):
        engine, row = divmod(tree, 2)
        place = random.permutation(16) + 20 * row
        roots[engine, 0], roots[engine, row + 1] = row + 1, place[0]
        moved = of.astype(np.int64)
        inner = moved[:, Column.IS_LEAF] == 0
        moved[inner, Column.LEFT], moved[inner, Column.RIGHT] = (
            place[moved[inner, Column.LEFT]],
            place[moved[inner, Column.RIGHT]],
        )
        moved[inner, Column.SCORE] = 99
        moved[~inner, Column.THRESHOLD] = -2
        engines[engine, place] = moved
    assert (Forest.from_conifer(SMALL, engines, roots).words == forest.words).all()


@pytest.mark.parametrize(
    ("column", "value", "fault"),
    [
        (Column.LEFT, 0, "node 0: two ways lead there, or a walk never ends"),
        (Column.RIGHT, 99, "node 99: it is outside the 16 nodes"),
        (Column.FEATURE, -2, "node 0: feature -2"),
        (Column.CLASS, 1, "node 0: it is of class 1"),
        (Column.THRESHOLD, 1 << 20, "node 0: 1048576 is outside"),
    ],
)
def test_nodes_of_conifer_with_a_fault_are_refused(column: int, value: int, fault: str) -> None:
    nodes, _ = FOREST.to_conifer()
    nodes[1, 0, column] = value
    with pytest.raises(ForestError, match=f"tree 1, {fault}"):
        Forest.from_conifer(SMALL, nodes)


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"nodes": 1, "roots": [], "scales": [1]})])
def test_what_is_no_nodes_json_is_refused(text: str) -> None:
    with pytest.raises(ForestError, match="forest: "):
        Forest.from_json(SMALL, text)


def test_conifer_scales_are_refused() -> None:
    text = json.dumps(json.loads(FOREST.to_json()) | {"scales": [2.0]})
    with pytest.raises(ForestError, match="expected scales of 1"):
        Forest.from_json(SMALL, text)


def test_a_payload_without_a_proven_forest_cannot_be_made() -> None:
    model = forest_model()
    nominal = Payload.nominal(model, [300, 400])
    words = model.forest.words.copy()
    words[SHAPE.n_nodes] &= 0xFF00FFFF
    with pytest.raises(PayloadError, match="tree 1, node 0: its children are not behind it"):
        nominal.replace(forest=words)
    bank = nominal.words.copy()
    bank[nominal.layout["forest"].words] = words
    with pytest.raises(ForestError, match="tree 1, node 0"):
        Payload(model.id, model.layout, bank)
    with pytest.raises(ForestError, match="tree 1, node 0"):
        Payload.from_bytes(model.layout, model.id, bank.tobytes())


def test_a_payload_is_proven_again_before_it_is_written() -> None:
    model = forest_model()
    payload = Payload.nominal(model, [300, 400])
    payload.words.flags.writeable = True
    payload.words[payload.layout["forest"].address] &= 0xFF00FFFF
    golden = np.zeros((1, model.n_features), np.int64)
    with pytest.raises(ForestError, match="tree 0, node 0"):
        Validation(model, golden, None).vectors(payload)


def test_bank_words_that_are_no_forest_count_as_scores_of_zero() -> None:
    model = forest_model()
    words = Payload.nominal(model, [300, 400]).words.copy()
    words[model.layout["forest"].words] = 0xFFFFFFFF
    found = Payload.from_registers(model.layout, model.id, words)
    assert not found.raw("forest").any()
    assert (found.words[: model.layout["forest"].address] == words[: model.layout["forest"].address]).all()


def test_the_bank_has_room_and_the_address_table_names_the_forest() -> None:
    model = forest_model()
    assert model.layout["forest"].size == 64 * 64
    assert model.layout.n_words == 8408 < ACTIVE - SHADOW
    assert 'id="forest"' in address_table([("forest", model.layout, 2)])


def test_a_model_is_dense_or_a_forest_whose_inputs_are_those_of_the_model_and_saturate(model: Model) -> None:
    forest = forest_model()
    with pytest.raises(ModelError, match="at least one dense layer, or a forest"):
        replace(model, forest=forest.forest)
    with pytest.raises(ModelError, match="at least one dense layer, or a forest"):
        replace(forest, forest=None)
    with pytest.raises(ModelError, match="cuts on 6 inputs"):
        replace(forest, forest=FOREST)
    wraps = replace(forest.normalisation, result_type=Fixed.parse("fixed<16,13,RND_CONV>"))
    shape = replace(SHAPE, threshold_type=wraps.result_type)
    with pytest.raises(ModelError, match="wrap where they are out of range"):
        replace(forest, normalisation=wraps, forest=replace(forest.forest, shape=shape))


def test_a_forest_survives_the_way_through_arrays_and_is_in_the_models_id() -> None:
    model = forest_model()
    description, arrays = model.to_arrays()
    again = Model.from_arrays(json.loads(json.dumps(description)), arrays)
    assert again.id == model.id
    assert again.layout == model.layout
    assert replace(model, forest=random_forest(SHAPE, 4)).id != model.id


def test_of_a_forest_there_is_no_rtl(tmp_path: Path) -> None:
    with pytest.raises(RtlMissing, match="forest is a forest: there is no RTL of it"):
        rtl.write(forest_model(), tmp_path)


@pytest.fixture(scope="session")
def compiled(built_datapaths: Path) -> CompiledDatapath:
    if compiler() is None:
        pytest.skip("no C++ compiler")
    return CompiledDatapath(forest_model(), built_datapaths)


def test_conifers_unit_gives_the_words_of_the_integers(compiled: CompiledDatapath, random_events: Drawn) -> None:
    model = forest_model()
    nominal = Payload.nominal(model, [300, 400])
    low, high = model.limits
    corners = np.concatenate([np.where(np.eye(57, dtype=bool), end, 0) for end in (low, high)])
    events = np.concatenate([random_events(model, 10_000, 1), corners, [low, high]])
    words = compiled.run(events, nominal)
    assert differences(words, Emulator(model).run(events, nominal)) == [0, 0, 0, 0]
    assert len(np.unique(words.codes)) > 500


def test_conifers_unit_agrees_under_random_forests_and_registers(
    compiled: CompiledDatapath, random_events: Drawn, random_payload: Callable[[Model, int], Payload]
) -> None:
    model, distinct = forest_model(), 0
    for seed in range(12):
        payload, events = random_payload(model, seed), random_events(model, 1500, seed)
        words = compiled.run(events, payload)
        assert differences(words, Emulator(model).run(events, payload)) == [0, 0, 0, 0], seed
        distinct += len(np.unique(words.codes))
    assert distinct > 1000


def test_inputs_beyond_the_unit_saturate_and_do_not_wrap(compiled: CompiledDatapath) -> None:
    model = forest_model()
    words = np.zeros((64, 64), np.uint32)
    split = Nodes(
        np.array([0, 0, 1600]), np.array([1, 0, 0]), np.zeros(3, np.int64), np.array([True, False, False])
    ).words
    words[0, :3] = split
    payload = Payload.nominal(model, [300, 400]).replace(forest=words.ravel())
    payload = payload.replace_values(input_scale=np.full(57, 3.99))
    events = np.zeros((2, 57), np.int64)
    events[1, 0] = 4095
    for run in (compiled.run, Emulator(model).run):
        assert run(events, payload).latent[:, 0].tolist() == [0, 1600]
