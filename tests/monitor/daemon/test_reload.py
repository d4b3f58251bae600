"""What of a configuration may change in a running daemon."""

from pathlib import Path

import numpy as np
import pytest

from monitor.config import Config, load
from monitor.daemon.reload import Difference, difference
from monitor.stats.count.building import reference_of_sample
from monitor.stats.count.reference import Reference
from monitor.stats.detect.detectors import make_detector
from monitor.watch.policy import Policy
from monitor.watch.settings import DetectSettings
from tests.monitor.test_config import SMALL
from tests.monitor.watch.test_policy import report, scores


def read(folder: Path, text: str) -> Config:
    path = folder / "config.toml"
    path.write_text(text)
    return load(path)


@pytest.mark.parametrize(
    ("more", "live", "restart"),
    [
        ("", [], []),
        ('mode = "shadow"\n', ["streams.axol1tl.mode"], []),
        ("[streams.axol1tl.detect]\nrate_tolerance = 0.2\n", ["streams.axol1tl.detect.rate_tolerance"], []),
        ("[streams.axol1tl.waits]\nwarm_ls = 9\n", ["streams.axol1tl.waits.warm_ls"], []),
        ("[streams.axol1tl.push]\npreview_accepts = 9\n", ["streams.axol1tl.push.preview_accepts"], []),
        ("[streams.axol1tl.recalibrate]\nmin_events = 9\n", ["streams.axol1tl.recalibrate.min_events"], []),
        (
            "[streams.axol1tl.detect.detectors]\nadwin_kl = {delta = 0.1}\n",
            [f"streams.axol1tl.detect.detectors.{name}" for name in ("adwin_kl.delta", "e_mixture", "e_rate")],
            [],
        ),
        ("[ingest]\nsilent_s = 5\nlate_ls = 3\n", ["ingest.silent_s"], ["ingest.late_ls"]),
        ('[grafana]\nurl = "http://127.0.0.1:3000"\n', ["grafana"], []),
        ('hold = "rate"\npattern = "sub"\n', [], ["streams.axol1tl.hold", "streams.axol1tl.pattern"]),
        ("[http]\nport = 1\n", [], ["http.port"]),
        ('[boards.spare]\nuri = "axi:///dev/uio0"\n', [], ["boards.spare"]),
        (
            '[streams.mode]\npackage = "a"\nboard = "gt"\naddresses = ["tcp://127.0.0.1:1"]\n',
            [],
            ["streams.mode"],
        ),
    ],
)
def test_every_key_is_live_or_needs_a_restart(tmp_path: Path, more: str, live: list[str], restart: list[str]) -> None:
    old, new = read(tmp_path, SMALL), read(tmp_path, SMALL + more)
    assert difference(old, new) == Difference(tuple(live), tuple(restart))
    assert difference(new, old) == Difference(tuple(live), tuple(restart))


def test_what_comes_at_the_top_is_live_or_not_by_its_name(tmp_path: Path) -> None:
    old = read(tmp_path, SMALL)
    new = read(tmp_path, 'state_dir = "elsewhere"\nlog_level = "debug"\n' + SMALL)
    assert difference(old, new) == Difference(("log_level",), ("state_dir",))


@pytest.fixture(scope="module")
def reference() -> Reference:
    codes = np.random.default_rng(1).geometric(0.015, 2_000_000).clip(max=4000)
    return reference_of_sample([(codes, None, None)], cuts=[150, 300], bits=12)


def test_a_policy_judges_by_a_new_tolerance_with_what_it_has_already_seen(reference: Reference) -> None:
    """A steady change of 5 % is within a wide tolerance; with a narrow one it is a drift at once, since its begin."""
    policy = Policy(DetectSettings(tolerated_kl=0.5, rate_tolerance=0.9), "distribution", reference)
    reports = [report(reference, scores(ls, 1.05), ls) for ls in range(1, 12)]
    assert {policy.assess(each).level for each in reports[:10]} == {"ok"}
    policy.use(DetectSettings(tolerated_kl=0.0001, rate_tolerance=0.01, consecutive_ls=1))
    verdict = policy.assess(reports[10])
    assert verdict.level == "drift"
    assert verdict.onset <= (1, 2)


def test_another_pile_up_error_begins_a_new_history(reference: Reference) -> None:
    policy = Policy(DetectSettings(tolerated_kl=0.5, rate_tolerance=0.9), "distribution", reference)
    for ls in range(1, 11):
        policy.assess(report(reference, scores(ls, 1.05), ls))
    policy.use(DetectSettings(tolerated_kl=0.0001, rate_tolerance=0.01, consecutive_ls=1, pileup_error=0.1))
    assert policy.assess(report(reference, scores(11, 1.05), 11)).onset == (1, 11)


def test_an_alarm_of_a_detector_that_is_gone_is_forgotten_and_the_others_go_on(reference: Reference) -> None:
    """Scores that are all alike alarm e_mixture in the open lumi section; then the configuration drops it."""
    from tests.monitor.watch.test_stream import Fed

    fed = Fed(reference, block_scores=1000)
    e_mixture = make_detector("e_mixture", reference, target_run_length=1e6)
    e_rate = make_detector("e_rate", reference, target_run_length=1e9)
    fed.monitor.use({"e_mixture": e_mixture, "e_rate": e_rate}, 0.0)
    fed.send(1, np.full(5000, 290))
    fed.monitor.use({"e_rate": e_rate}, 0.0)
    fed.send(1, np.full(5000, 290))
    fed.send(2, [1])
    (closed,) = fed.closed
    assert closed.n == 10_000
    assert [alarm.detector for alarm in closed.alarms] == ["e_rate"]
