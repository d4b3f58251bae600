"""The register map of a board, as a uHAL address table: written for its streams, and held against another one."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

from firmware.board.nodes import Node, parse_table
from firmware.board.register_map import (
    ACTIVE,
    ARM_GENERATION,
    COUNTERS,
    COUNTERS_ACCEPTS,
    INFO,
    MAX_CUTS,
    MODEL_ID,
    PLAYBACK,
    PLAYBACK_CAPACITY,
    PLAYBACK_CODES,
    PLAYBACK_EVENTS,
    PREVIEW_ACCEPTS,
    PREVIEW_PRESCALE,
    SHADOW,
    STATE,
    STATE_WORDS,
    STREAM_SPAN,
    playback_capacity,
)
from firmware.errors import AddressTableError
from firmware.model.fixed import WORD_MASK
from firmware.model.layout import Layout

BANKS = ("shadow", "active")

ServedStream = tuple[str, Layout, int]
"""Name, layout and number of cuts of a stream that a board serves."""


def address_table(streams: Sequence[ServedStream]) -> str:
    """The table of a board that serves (name, layout, n_cuts) streams, as XML for uHAL.

    Raises:
        AddressTableError: if a name is no node id or a bank does not fit its place.
    """
    return _table(streams, PLAYBACK_CAPACITY)


def check_table(
    xml: str, streams: Sequence[ServedStream], folder: Path | None = None, *, playback: bool = True
) -> None:
    """Check that a board with this table can serve the streams; it may keep its own addresses.

    Its playback memories may hold fewer events than those of `address_table`, but one; without `playback` they
    may be missing.

    Raises:
        AddressTableError: naming every node that is missing, of a wrong size, width, mode or permission, that
            shares a word with another, or that is no field of its bank.
    """
    given, wanted = parse_table(xml, folder), parse_table(_table(streams, 1))
    if not playback:
        missing = {f"{name}.playback." for name, _, _ in streams if f"{name}.playback" not in given}
        wanted = {path: node for path, node in wanted.items() if not path.startswith(tuple(missing))}
    leaves = {path: node for path, node in wanted.items() if node.mode != "hierarchical"}
    used = {path: given[path] for path in leaves if path in given}
    faults = [fault for path, node in leaves.items() for fault in _differences(path, node, given.get(path))]
    faults += [fault for name, _, _ in streams for bank in BANKS for fault in _shuffled(f"{name}.{bank}", given, used)]
    faults += _overlaps(used)
    if faults:
        raise AddressTableError("the address table does not serve these streams: " + "; ".join(faults))


def _differences(path: str, wanted: Node, found: Node | None) -> Iterator[str]:
    if found is None:
        yield f"{path} is missing"
        return
    exact = path.split(".")[1] in BANKS
    if found.mode != wanted.mode or found.size < wanted.size or (exact and found.size > wanted.size):
        yield f"{path} is {found.mode} of size {found.size}, expected {wanted.mode} of {wanted.size}"
    if found.mask != WORD_MASK:
        yield f"{path} has the mask {found.mask:#010x}, expected a whole word of 32 bits"
    if not set(wanted.permission) <= set(found.permission):
        yield f"{path} has permission {found.permission}, expected {wanted.permission}"


def _shuffled(bank: str, given: dict[str, Node], used: dict[str, Node]) -> Iterator[str]:
    """What makes the nodes of a bank, in the order of their addresses, not the fields of its payload."""
    fields = [path for path in used if path.startswith(f"{bank}.")]
    yield from (f"{path} is no field of the bank" for path in given if path.startswith(f"{bank}.") and path not in used)
    placed = sorted(fields, key=lambda path: used[path].address)
    if placed != fields:
        yield f"{bank} holds {', '.join(placed)} in this order, expected {', '.join(fields)}"


def _branch(parent: ElementTree.Element, name: str, address: int) -> ElementTree.Element:
    return ElementTree.SubElement(parent, "node", id=name, address=f"{address:#x}")


def _leaf(parent: ElementTree.Element, name: str, address: int, permission: str, size: int | None = None) -> None:
    leaf = _branch(parent, name, address)
    if size is not None:
        leaf.attrib |= {"mode": "incremental", "size": str(size)}
    leaf.set("permission", permission)


def _table(streams: Sequence[ServedStream], capacity: int) -> str:
    """The table of playback memories that hold `capacity` events, or as many as find room."""
    top = ElementTree.Element("node", id="TOP")
    info = _branch(top, "info", 0)
    for address, name in enumerate(INFO):
        _leaf(info, name, address, "r")
    for i, (name, layout, n_cuts) in enumerate(streams):
        _check_stream(name, layout, n_cuts)
        _add_stream(_branch(top, name, STREAM_SPAN * (i + 1)), layout, n_cuts, capacity)
    names = [name for name, _, _ in streams]
    if len(set(names)) != len(names):
        raise AddressTableError(f"stream names must differ: {', '.join(names)}")
    ElementTree.indent(top)
    return ElementTree.tostring(top, encoding="unicode") + "\n"


def _add_stream(stream: ElementTree.Element, layout: Layout, n_cuts: int, capacity: int) -> None:
    _leaf(stream, "model_id", MODEL_ID, "r", 8)
    for address, name in enumerate(STATE_WORDS, STATE):
        _leaf(stream, name, address, "r")
    arm = _branch(stream, "arm", ARM_GENERATION)
    for address, name in enumerate(("generation", "target_ls", "crc")):
        _leaf(arm, name, address, "rw")
    _leaf(arm, "command", 3, "w")
    _leaf(arm, "status", 4, "r")
    preview = _branch(stream, "preview", PREVIEW_PRESCALE)
    _leaf(preview, "prescale", 0, "rw")
    _leaf(preview, "events", 1, "r")
    _leaf(preview, "clear", 2, "w")
    _leaf(preview, "accepts", PREVIEW_ACCEPTS - PREVIEW_PRESCALE, "r", n_cuts)
    counters = _branch(stream, "counters", COUNTERS)
    for address, name in enumerate(("ls", "generation", "events", "dropped")):
        _leaf(counters, name, address, "r")
    _leaf(counters, "accepts", COUNTERS_ACCEPTS - COUNTERS, "r", n_cuts)
    for bank, address, permission in (("shadow", SHADOW, "rw"), ("active", ACTIVE, "r")):
        branch = _branch(stream, bank, address)
        for field in layout.fields:
            _leaf(branch, field.name, field.address, permission, field.size)
    n_features = layout["input_scale"].size
    capacity = min(capacity, playback_capacity(n_features))
    playback = _branch(stream, "playback", PLAYBACK)
    for address, (name, permission) in enumerate(
        (("capacity", "r"), ("count", "rw"), ("command", "w"), ("status", "r"))
    ):
        _leaf(playback, name, address, permission)
    _leaf(playback, "codes", PLAYBACK_CODES - PLAYBACK, "r", capacity)
    _leaf(playback, "events", PLAYBACK_EVENTS - PLAYBACK, "rw", capacity * n_features)


def _check_stream(name: str, layout: Layout, n_cuts: int) -> None:
    if not re.fullmatch(r"[A-Za-z_]\w*", name) or name == "info":
        raise AddressTableError(f"stream name {name!r} is no free node id: use letters, digits and _")
    if layout.n_words > ACTIVE - SHADOW:
        raise AddressTableError(f"{name}: {layout.n_words} words, but a bank holds {ACTIVE - SHADOW}")
    if n_cuts > MAX_CUTS:
        raise AddressTableError(f"{name}: {n_cuts} cuts, but the counters hold {MAX_CUTS}")


def _overlaps(nodes: dict[str, Node]) -> list[str]:
    faults = []
    widest, holder = -1, ""
    for path, node in sorted(nodes.items(), key=lambda item: item[1].address):
        if node.address < widest:
            faults.append(f"{path} overlaps {holder}")
        if node.end > widest:
            widest, holder = node.end, path
    return faults
