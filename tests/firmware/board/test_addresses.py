"""The table that is written for a board's streams, and what is said of another one."""

from dataclasses import replace

import pytest

from firmware.board.addresses import address_table, check_table
from firmware.board.nodes import Node, parse_table
from firmware.board.register_map import playback_capacity
from firmware.errors import AddressTableError
from firmware.model.layout import Field, Layout
from firmware.model.model import Model


@pytest.fixture
def table(model: Model) -> str:
    return address_table([("axol1tl", model.layout, 5), ("cicada", model.layout, 32)])


def test_the_board_map_is_where_the_firmware_has_it(table: str) -> None:
    nodes = parse_table(table)
    assert nodes["info.magic"] == Node(0, 1, "single", "r")
    assert nodes["info.n_streams"] == Node(7, 1, "single", "r")
    assert nodes["axol1tl.model_id"] == Node(0x20000, 8, "incremental", "r")
    assert nodes["axol1tl.shadow_crc"] == Node(0x2000D, 1, "single", "r")
    assert nodes["axol1tl.arm.command"] == Node(0x20013, 1, "single", "w")
    assert nodes["axol1tl.preview.accepts"] == Node(0x20020, 5, "incremental", "r")
    assert nodes["axol1tl.playback.status"] == Node(0x30003, 1, "single", "r")
    assert nodes["axol1tl.playback.codes"] == Node(0x30100, 64, "incremental", "r")
    assert nodes["axol1tl.playback.events"] == Node(0x30800, 64 * 57, "incremental", "rw")
    assert nodes["cicada.counters.accepts"] == Node(0x40050, 32, "incremental", "r")
    assert nodes["cicada.shadow.lut"] == Node(0x41000 + 233, 4096, "incremental", "rw")
    assert nodes["cicada.shadow.ring_scale"] == Node(0x41000 + 114, 96, "incremental", "rw")
    assert nodes["cicada.active.output_scale"] == Node(0x48000 + 226, 1, "incremental", "r")


@pytest.mark.parametrize(("n_features", "capacity"), [(57, 64), (252, 64), (992, 64), (993, 63), (63488, 1)])
def test_the_playback_memory_holds_what_fits_before_the_next_stream(n_features: int, capacity: int) -> None:
    assert playback_capacity(n_features) == capacity
    assert 0x10800 + capacity * n_features <= 0x20000


def test_a_board_may_have_more_nodes_other_addresses_and_more_rights(model: Model, table: str) -> None:
    moved = table.replace('id="axol1tl" address="0x20000"', 'id="axol1tl" address="0x60000"')
    check_table(
        moved.replace('id="epoch" address="0x2" permission="r"', 'id="epoch" address="0x2"'),
        [("axol1tl", model.layout, 5)],
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('id="magic"', 'id="magick"', "info.magic is missing"),
        (
            'size="4096"',
            'size="4095"',
            r"shadow\.lut is incremental of size 4095, expected incremental of 4096",
        ),
        ('mode="incremental" size="8"', "", r"model_id is single of size 1, expected incremental of 8"),
        (
            'id="command" address="0x3" permission="w"',
            'id="command" address="0x3" permission="r"',
            "has perm",
        ),
        (
            'id="command" address="0x3"',
            'id="command" address="0x2"',
            r"arm\.command overlaps axol1tl\.arm\.crc",
        ),
        (
            'id="target_ls" address="0x1" permission="rw"',
            'id="target_ls" address="0x1" permission="rw" mask="0xffff"',
            r"arm\.target_ls has the mask 0x0000ffff, expected a whole word of 32 bits",
        ),
        (
            'id="cuts" address="0xe4" mode="incremental" size="5"',
            'id="cuts" address="0x7000" mode="incremental" size="5"',
            r"axol1tl\.shadow holds .*, axol1tl\.shadow\.lut, axol1tl\.shadow\.cuts in this order, expected .*lut;",
        ),
        (
            'size="4096"',
            'size="4097"',
            r"shadow\.lut is incremental of size 4097, expected incremental of 4096",
        ),
        (
            '<node id="lut"',
            '<node id="spare" address="0x7000"/><node id="lut"',
            r"axol1tl\.shadow\.spare is no field of the bank",
        ),
        ('id="playback"', 'id="play"', r"axol1tl\.playback\.capacity is missing"),
    ],
)
def test_a_board_that_cannot_serve_the_streams_is_refused_by_node(
    model: Model, table: str, old: str, new: str, message: str
) -> None:
    assert old in table
    with pytest.raises(AddressTableError, match=message):
        check_table(table.replace(old, new), [("axol1tl", model.layout, 5)])


def test_a_board_may_have_a_smaller_playback_memory_or_where_that_is_allowed_none(model: Model, table: str) -> None:
    smaller = table.replace('size="64"', 'size="16"').replace(f'size="{64 * 57}"', f'size="{16 * 57}"')
    assert smaller != table
    check_table(smaller, [("axol1tl", model.layout, 5)])
    check_table(table.replace('id="playback"', 'id="play"'), [("axol1tl", model.layout, 5)], playback=False)
    with pytest.raises(AddressTableError, match=r"axol1tl\.playback\.codes is missing"):
        check_table(table.replace('id="codes"', 'id="scores"'), [("axol1tl", model.layout, 5)], playback=False)


def test_every_fault_is_listed_at_once(model: Model, table: str) -> None:
    with pytest.raises(AddressTableError, match=r"info\.magic is missing; info\.epoch is missing"):
        check_table(table.replace('"magic"', '"m"').replace('"epoch"', '"e"'), [("axol1tl", model.layout, 5)])


@pytest.mark.parametrize(
    ("name", "size", "n_cuts", "message"),
    [
        ("a.b", 1, 1, "stream name 'a.b' is no free node id"),
        ("info", 1, 1, "stream name 'info'"),
        ("big", 0x7001, 1, "big: 28673 words, but a bank holds 28672"),
        ("many", 1, 33, "many: 33 cuts, but the counters hold 32"),
    ],
)
def test_a_stream_that_does_not_fit_the_map_is_refused(
    model: Model, name: str, size: int, n_cuts: int, message: str
) -> None:
    layout = Layout((Field("lut", size, model.layout["lut"].type, 0),))
    with pytest.raises(AddressTableError, match=message):
        address_table([(name, layout, n_cuts)])


def test_two_streams_of_one_name_are_refused(model: Model) -> None:
    with pytest.raises(AddressTableError, match="names must differ"):
        address_table([("a", model.layout, 1), ("a", model.layout, 1)])


def test_a_table_without_the_weights_of_a_model_that_has_them_in_registers_is_refused(model: Model) -> None:
    *others, last = model.layers
    weighted = replace(model, layers=(*others, replace(last, reconfigurable=True)))
    streams = [("axol1tl", weighted.layout, 5)]
    check_table(address_table(streams), streams)
    with pytest.raises(
        AddressTableError, match=r"axol1tl\.shadow\.weights is missing.*axol1tl\.active\.biases is miss"
    ):
        check_table(address_table([("axol1tl", model.layout, 5)]), streams)
