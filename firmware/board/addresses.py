"""The register map of a board, as a uHAL address table."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from firmware.errors import AddressTableError
from firmware.model.layout import Layout

MAGIC = 0x44524654
VERSION = 2
STREAM_SPAN = 0x20000
SHADOW, ACTIVE = 0x1000, 0x8000
PLAYBACK, PLAYBACK_CODES, PLAYBACK_EVENTS = 0x10000, 0x10100, 0x10800
PLAYBACK_CAPACITY = 64
BANKS = ("shadow", "active")
MAX_CUTS = 32
FULL_MASK = 0xFFFFFFFF

Stream = tuple[str, Layout, int]

_INFO = ("magic", "version", "epoch", "run", "ls", "orbit", "ls_orbits", "n_streams")
_STATE = ("n_words", "active_bank", "generation", "latched_ls", "active_crc", "shadow_crc")
_PLAYBACK = {"capacity": "r", "count": "rw", "command": "w", "status": "r"}
_MODES = {
    "single": "single",
    **dict.fromkeys(("incremental", "inc", "block"), "incremental"),
    **dict.fromkeys(("non-incremental", "non-inc", "port"), "non-incremental"),
}
_PERMISSIONS = {
    **dict.fromkeys(("r", "read"), "r"),
    **dict.fromkeys(("w", "write"), "w"),
    **dict.fromkeys(("rw", "wr", "readwrite", "writeread"), "rw"),
}


@dataclass(frozen=True)
class Node:
    """One entry of an address table, `address` in 32-bit words and absolute."""

    address: int
    size: int
    mode: str
    permission: str
    mask: int = FULL_MASK

    @property
    def end(self) -> int:
        return self.address + (self.size if self.mode == "incremental" else 1)


def address_table(streams: Sequence[Stream]) -> str:
    """The table of a board that serves (name, layout, n_cuts) streams, as XML for uHAL.

    Raises:
        AddressTableError: if a name is no node id or a bank does not fit its place.
    """
    return _table(streams, PLAYBACK_CAPACITY)


def playback_capacity(n_features: int) -> int:
    """Events of so many features that the playback memory of this map holds."""
    return min(PLAYBACK_CAPACITY, (STREAM_SPAN - PLAYBACK_EVENTS) // n_features)


def parse(xml: str, folder: Path | None = None) -> dict[str, Node]:
    """Every node of a uHAL address table by its dotted path, with uHAL's defaults.

    Files named by `module` attributes are read from `folder`.

    Raises:
        AddressTableError: if the table is no XML, or a node is faulty; the text names it.
    """
    nodes: dict[str, Node] = {}
    for path, node in _walk(_root(xml, "the address table"), "", 0, folder):
        if path in nodes:
            raise AddressTableError(f"node {path} appears twice")
        nodes[path] = node
    return nodes


def check(xml: str, streams: Sequence[Stream], folder: Path | None = None, *, playback: bool = True) -> None:
    """Check that a board with this table can serve the streams; it may keep its own addresses.

    Its playback memories may hold fewer events than those of `address_table`, but one; without `playback` they
    may be missing.

    Raises:
        AddressTableError: naming every node that is missing, of a wrong size, width, mode or permission, that
            shares a word with another, or that is no field of its bank.
    """
    given, wanted = parse(xml, folder), parse(_table(streams, 1))
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
    if found.mask != FULL_MASK:
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


def _table(streams: Sequence[Stream], capacity: int) -> str:
    """The table of playback memories that hold `capacity` events, or as many as find room."""
    top = ElementTree.Element("node", id="TOP")
    info = _branch(top, "info", 0)
    for address, name in enumerate(_INFO):
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
    _leaf(stream, "model_id", 0, "r", 8)
    for address, name in enumerate(_STATE, 0x08):
        _leaf(stream, name, address, "r")
    arm = _branch(stream, "arm", 0x10)
    for address, name in enumerate(("generation", "target_ls", "crc")):
        _leaf(arm, name, address, "rw")
    _leaf(arm, "command", 3, "w")
    _leaf(arm, "status", 4, "r")
    preview = _branch(stream, "preview", 0x18)
    _leaf(preview, "prescale", 0, "rw")
    _leaf(preview, "events", 1, "r")
    _leaf(preview, "clear", 2, "w")
    _leaf(preview, "accepts", 8, "r", n_cuts)
    counters = _branch(stream, "counters", 0x40)
    for address, name in enumerate(("ls", "generation", "events", "dropped")):
        _leaf(counters, name, address, "r")
    _leaf(counters, "accepts", 0x10, "r", n_cuts)
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


def _root(xml: str, source: str) -> ElementTree.Element:
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise AddressTableError(f"{source} is no XML: {error}") from error
    if root.tag != "node":
        raise AddressTableError(f"{source} starts with <{root.tag}>, expected <node>")
    return root


def _walk(element: ElementTree.Element, path: str, address: int, folder: Path | None) -> Iterator[tuple[str, Node]]:
    """The nodes below `element`, which lies at `address`."""
    for child in element.iterfind("node"):
        name = child.get("id", "")
        where = f"{path}.{name}" if path else name
        if not name or "." in name or name != name.strip():
            raise AddressTableError(f"a node below {path or 'the top'} has the id {name!r}")
        base = address + _number(child, "address", 0, where)
        below = folder
        if "module" in child.attrib:
            child, below = _module(child.attrib["module"], folder, where)
            base += _number(child, "address", 0, where)
        yield where, _node(child, base, where)
        yield from _walk(child, where, base, below)


def _module(uri: str, folder: Path | None, where: str) -> tuple[ElementTree.Element, Path]:
    if folder is None:
        raise AddressTableError(f"{where} refers to {uri}, but the folder of the table is not given")
    file = folder / uri.removeprefix("file://")
    try:
        return _root(file.read_text(), str(file)), file.parent
    except OSError as error:
        raise AddressTableError(f"{where} refers to {uri}: {error}") from error


def _node(element: ElementTree.Element, address: int, where: str) -> Node:
    mask = _number(element, "mask", FULL_MASK, where)
    mode = _choice(element, "mode", _MODES, where)
    if mode is None:
        masked = all("mask" in child.attrib for child in element.iterfind("node"))
        mode = "single" if masked else "hierarchical"
    if mode == "incremental" and "size" not in element.attrib:
        raise AddressTableError(f"{where} is incremental but has no size")
    size = 1 if mode in ("single", "hierarchical") else _number(element, "size", 1, where)
    node = Node(address, size, mode, _choice(element, "permission", _PERMISSIONS, where) or "rw", mask)
    if size < 1 or node.end > 1 << 32:
        raise AddressTableError(f"{where} at {address:#x}, size {size}, is outside the 32-bit address space")
    return node


def _number(element: ElementTree.Element, name: str, default: int, where: str) -> int:
    text = element.get(name)
    try:
        return default if text is None else int(text, 0)
    except ValueError:
        raise AddressTableError(f"{where} has {name}={text!r}, which is no integer") from None


def _choice(element: ElementTree.Element, name: str, choices: dict[str, str], where: str) -> str | None:
    text = element.get(name)
    if text is not None and text not in choices:
        raise AddressTableError(f"{where} has {name}={text!r}, expected one of {', '.join(choices)}")
    return None if text is None else choices[text]


def _overlaps(nodes: dict[str, Node]) -> list[str]:
    faults = []
    widest, holder = -1, ""
    for path, node in sorted(nodes.items(), key=lambda item: item[1].address):
        if node.address < widest:
            faults.append(f"{path} overlaps {holder}")
        if node.end > widest:
            widest, holder = node.end, path
    return faults
