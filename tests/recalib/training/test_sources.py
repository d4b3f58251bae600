import shutil
from pathlib import Path

import pytest

from recalib.training.sources import digest, sources
from tests.support.places import ROOT

MODULE = "recalib.training.train"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Our packages' sources, to be changed."""
    for name in ("firmware", "monitor", "recalib"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    return tmp_path


def change(path: Path) -> None:
    path.write_text(path.read_text() + "\n")


@pytest.mark.parametrize("name", ["firmware/model/fixed.py", "firmware/__init__.py", "monitor/stats/count/binning.py"])
def test_a_change_in_what_is_imported_at_any_distance_changes_the_digest(tree: Path, name: str) -> None:
    before = digest(MODULE, tree)
    change(tree / name)
    assert digest(MODULE, tree) != before


@pytest.mark.parametrize("name", ["recalib/fit/gates.py", "firmware/board/uhal.py", "monitor/cli/main.py"])
def test_a_change_in_an_unrelated_module_leaves_it(tree: Path, name: str) -> None:
    before = digest(MODULE, tree)
    change(tree / name)
    assert digest(MODULE, tree) == before


def test_a_file_that_is_gone_is_missed(tree: Path) -> None:
    before = digest(MODULE, tree)
    (tree / "firmware" / "model" / "axol1tl.py").unlink()
    assert digest(MODULE, tree) != before


def test_every_form_of_import_is_followed(tmp_path: Path) -> None:
    package = tmp_path / "house"
    package.mkdir()
    files = {
        "__init__": "",
        "a": "import os\nimport house.b\nfrom house import c\n",
        "b": "def late():\n    from house.d import name\n",
        "c": "",
        "d": "from house.a import nothing\nname = 1\n",
        "e": "",
    }
    for name, text in files.items():
        (package / f"{name}.py").write_text(text)
    assert [path.stem for path in sources("house.a", tmp_path)] == ["__init__", "a", "b", "c", "d"]
