"""The wheel: one for every Python, whole, and enough by itself."""

import fnmatch
import os
import re
import subprocess
import zipfile
from pathlib import Path

from recalib.training.train import SETTINGS
from tests.support.grafana_stub import TOKEN, GrafanaStub
from tests.support.places import ROOT
from tests.support.trained import trained


def ran(installed: Path, *arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command of the installation, run where no checkout is."""
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [installed / arguments[0], *arguments[1:]]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=cwd, env=inherited | environment, timeout=300
    )


def test_one_wheel_serves_every_python_from_3_11_on(wheel: Path) -> None:
    assert "-cp311-abi3-" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        built = {Path(name).name for name in archive.namelist() if name.endswith(".so")}
    assert built == {"kernel.abi3.so", "betting.abi3.so"}


def test_it_holds_all_that_the_repository_keeps_for_it(wheel: Path) -> None:
    """Page, RTL, configuration, dashboards and deployment files, byte for byte, as git has them."""
    asked = ["git", "ls-files", "monitor", "firmware", "recalib", "config.toml", "dashboards", "deploy"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True)
    files = [name for name in done.stdout.split() if not (ROOT / name).is_symlink()]
    shipped = {
        name: f"monitor/files/{name}"
        for name in files
        if name.startswith("deploy/") or re.match(r"config\.toml|dashboards/(grafana/|provisioning/|rules\.json)", name)
    }
    own = {name: name for name in files if name.startswith(("monitor/", "firmware/", "recalib/"))}
    docs = {name for name in own if name.endswith(".md")}
    with zipfile.ZipFile(wheel) as archive:
        there = set(archive.namelist())
        assert {f"{package}/py.typed" for package in ("firmware", "monitor", "recalib")} <= there
        for name, place in (shipped | own).items():
            if name not in docs:
                assert place in there, name
                assert archive.read(place) == (ROOT / name).read_bytes(), name
        (metadata,) = (archive.read(name).decode() for name in there if name.endswith("/METADATA"))
        (licence,) = (archive.read(name) for name in there if name.endswith("/licenses/LICENSE"))
    assert licence == (ROOT / "LICENSE").read_bytes()
    assert "License-Expression: Apache-2.0" in metadata
    assert len(shipped) > 30


def test_it_is_the_installation_that_runs(installed: Path, tmp_path: Path) -> None:
    code = "import firmware, monitor, recalib; print(*(p.__path__[0] for p in (firmware, monitor, recalib)))"
    done = ran(installed, "python", "-c", code, cwd=tmp_path)
    assert all(Path(place).is_relative_to(installed.parent) for place in done.stdout.split()), done.stderr


def test_no_extra_is_there(installed: Path, tmp_path: Path) -> None:
    """So that what the other tests run needs none; hls4ml itself brings h5py."""
    for name in ("matplotlib", "pyarrow", "uproot", "conifer", "httpx"):
        done = ran(installed, "python", "-c", f"import {name}", cwd=tmp_path)
        assert f"No module named '{name}'" in done.stderr


def test_every_module_of_it_can_be_imported(installed: Path, tmp_path: Path) -> None:
    code = (
        "import importlib, pkgutil, firmware, monitor, recalib\n"
        "for package in (firmware, monitor, recalib):\n"
        "    for found in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        if not found.name.endswith('__main__'): importlib.import_module(found.name)\n"
    )
    done = ran(installed, "python", "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_user_begins_with_init_and_check(installed: Path, tmp_path: Path) -> None:
    assert ran(installed, "driftd", "--version", cwd=tmp_path).returncode == 0
    assert ran(installed, "driftd", "init", cwd=tmp_path).returncode == 0
    assert (tmp_path / "config.toml").read_bytes() == (ROOT / "config.toml").read_bytes()
    checked = ran(installed, "driftd", "check", "--offline", cwd=tmp_path)
    assert checked.returncode == 78
    assert "streams.axol1tl.package" in checked.stdout


def test_check_finds_a_model_sound(installed: Path, tmp_path: Path) -> None:
    package = trained(SETTINGS["axol1tl"])
    config = tmp_path / "config.toml"
    text = (ROOT / "config.toml").read_text().replace("var/axol1tl.driftd", str(package))
    config.write_text(text.replace("port = 8765", "port = 0"))
    checked = ran(installed, "driftd", "check", "--offline", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert fnmatch.fnmatch(checked.stdout, "✓ *config.toml: streams axol1tl on boards gt*golden events agree*")


def test_dashboards_and_rules_go_from_the_wheel_into_a_grafana(installed: Path, tmp_path: Path) -> None:
    stub = GrafanaStub()
    try:
        text = (ROOT / "config.toml").read_text()
        (tmp_path / "config.toml").write_text(f'{text}\n[grafana]\nurl = "{stub.url}"\n')
        done = ran(installed, "driftd", "grafana", "apply", cwd=tmp_path, GRAFANA_TOKEN=TOKEN)
        assert done.returncode == 0, done.stdout + done.stderr
        assert set(stub.dashboards) == {"driftd-overview", "driftd-stream", "driftd-recalibration", "driftd-board"}
        again = ran(installed, "driftd", "grafana", "diff", cwd=tmp_path, GRAFANA_TOKEN=TOKEN)
        assert again.returncode == 0, again.stdout
    finally:
        stub.close()


def test_a_plot_says_which_extra_it_needs(installed: Path, tmp_path: Path) -> None:
    code = "import numpy; numpy.savez('a.npz', scores=numpy.arange(5000) % 4096)"
    assert ran(installed, "python", "-c", code, cwd=tmp_path).returncode == 0
    built = ran(
        installed, "driftd", "reference", "build", "a.npz", "--target-rate", "0.1", "--out", "a.ref", cwd=tmp_path
    )
    assert built.returncode == 0, built.stderr
    done = ran(installed, "driftd", "reference", "show", "a.ref", "--plot", "a.png", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "driftd: matplotlib is not installed: pip install 'driftd[plots]'\n"
