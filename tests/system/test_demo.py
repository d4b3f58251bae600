"""The whole mission on real parts: drift, notice, re-calibrate, prove, write, confirm."""

import json
from pathlib import Path

from tests.support.datapaths import lend
from tests.support.site import Site


def test_the_demo_closes_the_loop(site: Site) -> None:
    """The jet scale falls by 8 %; the jets' scale registers bring back p(s) and the board's own rates."""
    folder = site.folder / "demo"
    folder.mkdir()
    lend(folder)
    (site.folder / "axol1tl.driftd").symlink_to(site.package)
    done = site.driftd("demo", "--folder", str(folder), "--json")
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
