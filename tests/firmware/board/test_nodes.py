"""Our reading of address tables against uHAL's own."""

from pathlib import Path

import pytest
import uhal

from firmware.board.addresses import address_table
from firmware.board.nodes import Node, parse_table
from firmware.errors import AddressTableError
from firmware.model.model import Model


@pytest.fixture
def table(model: Model) -> str:
    return address_table([("axol1tl", model.layout, 5), ("cicada", model.layout, 32)])


def nodes_of_uhal(path: Path) -> dict[str, Node]:
    """The nodes as the real client library reads them from a file."""
    uhal.disableLogging()
    device = uhal.getDevice("board", "ipbusudp-2.0://127.0.0.1:1", f"file://{path}")
    modes = {
        uhal.BlockReadWriteMode.SINGLE: "single",
        uhal.BlockReadWriteMode.INCREMENTAL: "incremental",
        uhal.BlockReadWriteMode.NON_INCREMENTAL: "non-incremental",
        uhal.BlockReadWriteMode.HIERARCHICAL: "hierarchical",
    }
    permissions = {
        uhal.NodePermission.READ: "r",
        uhal.NodePermission.WRITE: "w",
        uhal.NodePermission.READWRITE: "rw",
    }
    return {
        name: Node(
            node.getAddress(),
            node.getSize(),
            modes[node.getMode()],
            permissions[node.getPermission()],
            node.getMask(),
        )
        for name in device.getNodes()
        for node in [device.getNode(name)]
    }


def test_uhal_reads_the_table_as_we_do(table: str, tmp_path: Path) -> None:
    path = tmp_path / "board.xml"
    path.write_text(table)
    assert nodes_of_uhal(path) == parse_table(table)


GENERAL = """
<node id="TOP">
  <node id="a" address="0x10" permission="read">
    <node id="low" mask="0x0000ffff" permission="rw"/>
    <node id="high" mask="0xffff0000"/>
  </node>
  <node id="fifo" address="32" mode="port" size="64" permission="w"/>
  <node id="block" address="0x40" mode="block" size="4"><node id="third" address="2"/></node>
  <node id="left" address="0x100" module="file://part.xml"/>
  <node id="right" address="0x200" module="file://part.xml"/>
</node>
"""
PART = """
<node address="0x8"><node id="deep"><node id="word" address="0x1" permission="r"/></node></node>
"""


def test_masks_ports_nested_nodes_and_modules_are_read_as_uhal_reads_them(tmp_path: Path) -> None:
    (tmp_path / "part.xml").write_text(PART)
    (tmp_path / "top.xml").write_text(GENERAL)
    nodes = parse_table(GENERAL, tmp_path)
    assert nodes == nodes_of_uhal(tmp_path / "top.xml")
    assert nodes["right.deep.word"] == Node(0x209, 1, "single", "r")
    assert nodes["a.high"].mask == 0xFFFF0000


def test_a_table_of_the_cms_global_trigger_is_read_as_uhal_reads_it(shared_data: Path) -> None:
    path = shared_data / "example_ugt_address_table.xml"
    nodes = parse_table(path.read_text())
    assert nodes == nodes_of_uhal(path)
    assert len(nodes) > 50


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        ("<node", "the address table is no XML"),
        ("<table/>", "starts with <table>"),
        ("<node><node address='1'/></node>", "below the top has the id ''"),
        ("<node><node id='a'><node id='b.c'/></node></node>", "below a has the id 'b.c'"),
        ("<node><node id='a'/><node id='a'/></node>", "node a appears twice"),
        ("<node><node id='a' address='0xg'/></node>", "a has address='0xg', which is no integer"),
        ("<node><node id='a' mode='list'/></node>", "a has mode='list', expected one of single"),
        ("<node><node id='a' permission='x'/></node>", "a has permission='x'"),
        ("<node><node id='a' mode='incremental'/></node>", "a is incremental but has no size"),
        ("<node><node id='a' address='0xffffffff' mode='inc' size='2'/></node>", "outside the 32-bit"),
        ("<node><node id='a' module='file://b.xml'/></node>", "the folder of the table is not given"),
    ],
)
def test_a_faulty_table_is_refused_by_node(xml: str, message: str) -> None:
    with pytest.raises(AddressTableError, match=message):
        parse_table(xml)


def test_a_missing_module_is_refused_by_node(tmp_path: Path) -> None:
    with pytest.raises(AddressTableError, match=r"left refers to file://part\.xml"):
        parse_table(GENERAL, tmp_path)
