"""Exit codes: each defined once, each with one meaning."""

import ast
from pathlib import Path

from monitor import exits
from tests.support.places import ROOT


def defined(path: Path) -> set[str]:
    """Names that begin with EX_ and are given a value anywhere in a file."""
    return {
        node.id
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id.startswith("EX_")
    }


def test_no_other_module_defines_an_exit_code() -> None:
    files = [path for room in ("monitor", "recalib", "firmware", "dashboards") for path in (ROOT / room).rglob("*.py")]
    assert len(files) > 100
    assert {path.relative_to(ROOT).as_posix() for path in files if defined(path)} == {"monitor/exits.py"}


def test_no_two_meanings_share_a_code() -> None:
    codes = {name: value for name, value in vars(exits).items() if name.startswith("EX_")}
    assert len(set(codes.values())) == len(codes)
    assert not {0, 2} & set(codes.values()), "success, and click's own for a command line"
