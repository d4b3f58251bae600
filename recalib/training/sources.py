"""Which files a module of ours is made of: so that what it has made is told from what other code would make."""

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path


def digest(module: str, root: Path) -> str:
    """SHA-256 of the sources of a module and of all of ours that it imports, however far away.

    Args:
        module: dotted name of a module in the folder `root`.
    """
    found = hashlib.sha256()
    for path in sources(module, root):
        found.update(f"{path.relative_to(root)}\n".encode())
        found.update(path.read_bytes())
    return found.hexdigest()


def sources(module: str, root: Path) -> list[Path]:
    """Those files, sorted: of the modules that are imported anywhere in them, and of the packages they are in."""
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        parts = waiting.pop().split(".")
        for depth in range(1, len(parts) + 1):
            path = _file(root.joinpath(*parts[:depth]))
            if path is not None and path not in found:
                found.add(path)
                waiting.extend(_imported(path))
    return sorted(found)


def _file(place: Path) -> Path | None:
    """That of a package or module; None where there is neither."""
    for path in (place / "__init__.py", place.with_suffix(".py")):
        if path.is_file():
            return path
    return None


def _imported(path: Path) -> Iterator[str]:
    """Dotted names; what is imported from a package may be a module of it."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
