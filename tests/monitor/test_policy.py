"""From evidence to a verdict, on lumi sections drawn from a known reference."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from monitor.daemon.config import Detect
from monitor.daemon.policy import Policy, Verdict
from monitor.daemon.stream import Alarm, Key, LsReport
from monitor.stats.divergence import compare
from monitor.stats.reference import Reference
from monitor.stats.window import Slice, Window

CUTS = [150, 300]
N = 100_000


@pytest.fixture(scope="module")
def reference() -> Reference:
    codes = np.random.default_rng(1).geometric(0.015, 2_000_000).clip(max=4000)
    return Reference.build([(codes, None, None)], cuts=CUTS, bits=12)


def scores(seed: int, scale: float = 1.0, n: int = N) -> npt.NDArray[np.int64]:
    codes = np.random.default_rng(seed).geometric(0.015, n) * scale
    return codes.astype(np.int64).clip(max=4000)


def report(
    reference: Reference,
    codes: npt.NDArray[np.int64],
    ls: int,
    generation: int = 0,
    cuts: Sequence[int] = CUTS,
    alarms: Sequence[str] = (),
) -> LsReport:
    cells = reference.cells.count(codes)
    base = reference.expected(None)
    counts = base.bins(cells)
    return LsReport(
        key=Key(1, ls, 7, generation),
        window=Window({None: Slice(cells)}, np.array([(codes >= cut).sum() for cut in cuts]), (1, ls), (1, ls)),
        counts=counts,
        cuts=tuple(cuts),
        expected=base,
        expected_rates=reference.rates_of(base.p),
        divergence=compare(counts, base.p, base.m),
        to_reference=compare(counts, base.p, base.m),
        alarms=tuple(Alarm(name, True, 1.0) for name in alarms),
        t_ns=0,
    )


def judged(reference: Reference, shifts: Sequence[float], hold: str = "distribution", **detect: float) -> list[Verdict]:
    policy = Policy(Detect(**detect), hold, reference)  # type: ignore[arg-type]
    return [policy.assess(report(reference, scores(ls, shift), ls)) for ls, shift in enumerate(shifts, start=1)]


def test_without_drift_every_lumi_section_is_ok(reference: Reference) -> None:
    assert {verdict.level for verdict in judged(reference, [1.0] * 50)} == {"ok"}


def test_a_drift_is_watched_first_and_called_after_the_configured_number_of_lumi_sections(reference: Reference) -> None:
    verdicts = judged(reference, [1, 1, 1, 0.9, 0.9, 0.9], consecutive_ls=3)
    assert [verdict.level for verdict in verdicts] == ["ok", "ok", "ok", "watch", "watch", "drift"]
    assert verdicts[-1].onset == (1, 4)
    assert "since lumi section 4" in verdicts[-1].text


def test_a_single_bad_lumi_section_is_no_drift(reference: Reference) -> None:
    assert [v.level for v in judged(reference, [1, 0.9, 1, 0.9, 1])] == ["ok", "watch", "ok", "watch", "ok"]


def test_a_significant_difference_within_the_tolerances_is_ok(reference: Reference) -> None:
    verdict = judged(reference, [0.985], tolerated_kl=0.01, rate_tolerance=0.2)[0]
    assert verdict.level == "ok"


def test_the_rates_say_how_far_off_they_are(reference: Reference) -> None:
    verdict = judged(reference, [0.8])[0]
    assert all(ratio < 0.7 for ratio in verdict.ratios)
    assert all(pull < -5 for pull in verdict.pulls)


def test_a_stream_that_holds_its_rate_does_not_mind_another_shape(reference: Reference) -> None:
    """The bulk is another, the tail and with it the rates are the same."""
    policy = Policy(Detect(), "rate", reference)
    codes = scores(3)
    codes = np.where(codes < 100, codes // 2, codes)
    assert policy.assess(report(reference, codes, 1)).level == "ok"
    assert Policy(Detect(), "distribution", reference).assess(report(reference, codes, 1)).level == "watch"


def test_an_alarm_has_lumi_sections_judged_together_that_are_too_small_alone(reference: Reference) -> None:
    """Each lumi section holds too few scores for a verdict; since the onset they suffice."""
    policy = Policy(Detect(min_scores=1000), "distribution", reference)
    levels = []
    for ls in range(1, 31):
        codes = scores(ls, 1.0 if ls <= 10 else 0.92, n=1500)
        levels.append(policy.assess(report(reference, codes, ls, alarms=["e_mixture"] if ls == 30 else [])).level)
    assert set(levels[:-1]) == {"ok"}
    assert levels[-1] == "drift"


def test_an_alarm_without_a_difference_that_matters_is_only_watched(reference: Reference) -> None:
    policy = Policy(Detect(), "distribution", reference)
    levels = [policy.assess(report(reference, scores(ls), ls, alarms=["adwin_kl"])).level for ls in range(1, 6)]
    assert set(levels) == {"watch"}


def test_generations_are_never_mixed(reference: Reference) -> None:
    """A bad lumi section of the old payload does not count against the new one."""
    policy = Policy(Detect(), "distribution", reference)
    assert policy.assess(report(reference, scores(1, 0.9), 1)).level == "watch"
    assert policy.assess(report(reference, scores(2, 0.9), 2, generation=1)).level == "watch"
    assert policy.assess(report(reference, scores(3, 0.9), 3, generation=1)).level == "drift"


def test_too_few_scores_give_no_verdict(reference: Reference) -> None:
    policy = Policy(Detect(), "distribution", reference)
    verdict = policy.assess(report(reference, scores(1, 0.5, n=100), 1))
    assert verdict.level == "thin"
    assert "100 scores" in verdict.text
