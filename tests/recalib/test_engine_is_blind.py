"""The engine decides by what came over the wire and by the package: it cannot see how events are made."""

import ast
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import recalib
from firmware.sim.world.detector import Response
from tests.recalib.conftest import Lab

GENERATOR = "firmware.sim"
FOLDER = Path(recalib.__file__).parent
TRAINING = FOLDER / "training"
TRAINS = {TRAINING / "train.py"}

ALONE = f"""
import pickle, sys
from pathlib import Path

sys.modules["{GENERATOR}"] = None

from firmware.model.package import Package
from recalib.fit.engine import Engine

request = pickle.loads(Path(sys.argv[2]).read_bytes())
print(Engine(Package.load(Path(sys.argv[1]))).propose(request).id)
"""


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)


def test_only_the_training_knows_the_generator() -> None:
    """Modules in all folders, however deep."""
    knowing = {path for path in FOLDER.rglob("*.py") if any(name.startswith(GENERATOR) for name in imported(path))}
    assert knowing == TRAINS


def test_nothing_that_the_engine_loads_imports_the_training() -> None:
    engine = [path for path in FOLDER.rglob("*.py") if TRAINING not in path.parents]
    loading = {path for path in engine if any(name.startswith("recalib.training") for name in imported(path))}
    assert len(engine) > 30
    assert not loading


def test_where_the_generator_cannot_be_imported_the_proposal_is_the_same(lab: Lab, tmp_path: Path) -> None:
    request = lab.request(lab.sample(response=Response(jet_energy_scale=-0.08)), knobs=("input_scale", "threshold"))
    (tmp_path / "request").write_bytes(pickle.dumps(request))
    arguments = [sys.executable, "-c", ALONE, str(lab.path), str(tmp_path / "request")]
    alone = subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=FOLDER.parent)
    assert alone.stdout.strip() == lab.engine.propose(request).id, alone.stderr
