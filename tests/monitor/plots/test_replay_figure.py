"""A replay is drawn whatever is missing in it, with every alarm."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from monitor.offline.result import ReplayedLs
from monitor.plots.replay_figure import replay_figure
from tests.support.figures import texts


def replayed(ls: int, **own: Any) -> ReplayedLs:
    given: dict[str, Any] = {
        "run": 7, "ls": ls, "n": 1000, "pileup": 30.0, "level": "ok", "text": "", "kl": 1e-4, "kl_error": 1e-4,
        "psi": 2e-4, "ratios": (1.0, 1.1), "alarms": (),
    }  # fmt: skip
    return ReplayedLs(**given | own)


def test_a_replay_is_drawn_with_its_alarms_and_verdicts(tmp_path: Path, drawn: list[Figure]) -> None:
    lumi_sections = [
        replayed(1, pileup=None),
        replayed(2, level="thin", ratios=()),
        replayed(3, level="watch", alarms=("e_rate",)),
        replayed(4, level="drift", kl=0.1, alarms=("e_rate", "e_mixture")),
    ]
    replay_figure(tmp_path / "a.png", lumi_sections, 0.1)
    said = texts(drawn[0])
    assert "watch" in said
    assert "drift" in said
    alarms = drawn[0].axes[3]
    assert [label.get_text() for label in alarms.get_yticklabels()] == ["e_mixture", "e_rate"]
    assert [line.get_xdata().tolist() for line in alarms.lines] == [[3], [2, 3]]
    assert (tmp_path / "a.png").exists()


def test_a_calm_replay_says_that_there_was_no_alarm(tmp_path: Path, drawn: list[Figure]) -> None:
    replay_figure(tmp_path / "a.png", [replayed(1)], 0.1)
    assert "no alarm" in texts(drawn[0])
