"""The whole mission on real parts: drift, notice, re-calibrate, prove, write, confirm."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from tests.support import wheel


def test_the_demo_closes_the_loop_from_the_wheel_alone(package: Path, tmp_path: Path) -> None:
    """The jet scale falls by 8 %; the jets' scale registers bring back p(s) and the board's own rates.

    It runs in an environment that has the wheel, what a plain installation brings, and the extra for plots.
    """
    installed = wheel.install(wheel.build_wheel(tmp_path), tmp_path, "plots")
    folder = tmp_path / "var" / "demo"
    folder.parent.mkdir()
    shutil.copy(package, folder.parent)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    command = [installed / "driftd", "demo", "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, cwd=tmp_path, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads(done.stdout)
    assert figures["kl_drifted"] > 5 * figures["kl_limit"]
    assert figures["kl_after"] <= figures["kl_limit"]
    assert min(figures["board_accepts"]) >= 1000
    assert all(abs(ratio - 1) <= 0.1 for ratio in figures["rate_after"])
    assert all(ratio < 0.9 for ratio in figures["rate_drifted"])
    assert figures["pileup"]["pushes"] == 0
    assert figures["pileup"]["from"] - figures["pileup"]["to"] > 10
    picture = Path(folder, "demo.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
