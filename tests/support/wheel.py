"""The wheel, built and installed where no source tree is, with what a plain installation would bring and no more."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

from tests.support.places import ROOT

COPIED = (
    "pyproject.toml", "constraints.txt", "README.md", "LICENSE", "config.toml",
    "dashboards", "deploy", "firmware", "monitor", "recalib",
)  # fmt: skip
"""What of the repository a wheel is built of, here and in the container."""
IGNORED = shutil.ignore_patterns("__pycache__", "*.so", "*.egg-info")
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


def build_wheel(folder: Path) -> Path:
    """Build it of a copy that is gone afterwards; nothing is fetched."""
    source = folder / "src"
    source.mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=IGNORED)
        else:
            shutil.copy(ROOT / name, source)
    command = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, source]
    subprocess.run(command, check=True, cwd=folder)
    shutil.rmtree(source)
    (wheel,) = folder.glob("driftd-*.whl")
    return wheel


def install(wheel: Path, folder: Path, *extras: str) -> Path:
    """The bin folder of a fresh environment with the wheel; its requirements are linked from this environment."""
    venv.create(folder / "venv", symlinks=True)
    site = next((folder / "venv" / "lib").glob("python*/site-packages"))
    subprocess.run([*PIP, "install", "--no-deps", "--target", site, wheel], check=True, cwd=folder)
    requirements = next(site.glob("driftd-*.dist-info")) / "METADATA"
    for name in closure(re.findall(r"^Requires-Dist: (.*)$", requirements.read_text(), re.MULTILINE), *extras):
        for top in _tops(distribution(name)):
            if not (site / top.name).exists():
                (site / top.name).symlink_to(top)
    command = folder / "venv" / "bin" / "driftd"
    # As pip writes it: processes that are spawned import the script again, and must not run it.
    command.write_text(
        f"#!{command.parent / 'python'}\nfrom monitor.cli.main import main\n\nif __name__ == '__main__':\n    main()\n"
    )
    command.chmod(0o755)
    return command.parent


def closure(requirements: Sequence[str], *extras: str) -> set[str]:
    """The distributions that meet requirements, with some extras or none, and those that these require in turn."""
    found: set[str] = set()
    waiting = [(requirement, extra) for requirement in requirements for extra in ("", *extras)]
    while waiting:
        text, extra = waiting.pop()
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name not in found or requirement.extras:
            found.add(name)
            needs = distribution(name).requires or []
            waiting += [(each, of) for each in needs for of in ("", *requirement.extras)]
    return found


def _tops(installed: Distribution) -> Iterator[Path]:
    """The files and folders that a distribution put at the top of its environment."""
    names = {file.parts[0] for file in installed.files or [] if file.parts[0] not in ("..", "__pycache__")}
    for name in names:
        yield Path(str(installed.locate_file(name))).resolve()
