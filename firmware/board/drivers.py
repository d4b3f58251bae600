"""The kinds of boards, by the scheme of their URI."""

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from firmware.board.axi import AxiBoard
from firmware.board.board import Board
from firmware.board.uhal import UhalBoard
from firmware.errors import BoardError

GROUP = "driftd.boards"
"""Entry points of other packages: the name is a scheme, the object a Driver."""

Driver = Callable[[str, str, int, Path | None], Board]
"""(uri, address table, timeout in ms of one exchange, folder of the table's modules) -> Board"""

NETWORK = ("ipbusudp-2.0", "ipbustcp-2.0", "chtcp-2.0")
MEMORY = ("axi", "ipbusmmap-2.0")


def driver(uri: str) -> Driver:
    """The driver of the board at a URI.

    Raises:
        BoardError: if no kind of board has the scheme, or the URI lacks what its kind needs.
    """
    scheme, host, path, query, _ = urlsplit(uri)
    if scheme in NETWORK:
        if not host or (scheme == "chtcp-2.0" and "target" not in dict(parse_qsl(query))):
            raise BoardError(
                f"{uri!r} is incomplete, expected ipbusudp-2.0://host:port, ipbustcp-2.0://host:port"
                " or chtcp-2.0://hub:10203?target=host:port"
            )
        return UhalBoard
    if scheme in MEMORY:
        if host or not path:
            raise BoardError(f"{uri!r} names no file, expected {scheme}:///dev/…")
        return AxiBoard if scheme == "axi" else UhalBoard
    for entry in entry_points(group=GROUP, name=scheme):
        third_party: Driver = entry.load()
        return third_party
    known = [*NETWORK, *MEMORY, *sorted(entry.name for entry in entry_points(group=GROUP))]
    raise BoardError(f"{uri!r} is of no known kind, expected one of {', '.join(f'{kind}://' for kind in known)}")
