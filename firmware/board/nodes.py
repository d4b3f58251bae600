"""Reading a uHAL address table: every node of it, with its place, size, mode and permission."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from firmware.errors import AddressTableError
from firmware.model.fixed import WORD_MASK

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
    mask: int = WORD_MASK

    @property
    def end(self) -> int:
        """The word address behind the last word of the node."""
        return self.address + (self.size if self.mode == "incremental" else 1)


def parse_table(xml: str, folder: Path | None = None) -> dict[str, Node]:
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
    mask = _number(element, "mask", WORD_MASK, where)
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
