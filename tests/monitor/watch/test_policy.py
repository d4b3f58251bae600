"""From evidence to a verdict, on lumi sections drawn from a known reference."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from monitor.stats.compare.divergence import compare
from monitor.stats.count.building import reference_of_histogram, reference_of_sample
from monitor.stats.count.reference import Reference
from monitor.stats.count.window import Slice, Window
from monitor.watch.policy import Policy, Verdict
from monitor.watch.report import Alarm, Key, LsReport
from monitor.watch.settings import DetectSettings

CUTS = [150, 300]
N = 100_000


@pytest.fixture(scope="module")
def reference() -> Reference:
    codes = np.random.default_rng(1).geometric(0.015, 2_000_000).clip(max=4000)
    return reference_of_sample([(codes, None, None)], cuts=CUTS, bits=12)


def scores(seed: int, scale: float = 1.0, n: int = N) -> npt.NDArray[np.int64]:
    """Geometric, as those of the reference, times a scale."""
    codes = np.random.default_rng(seed).exponential(-scale / np.log1p(-0.015), n)
    return np.ceil(codes).astype(np.int64).clip(max=4000)


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
        scores_since=generation,
        expected=base,
        expected_rates=reference.rates_of(base.p),
        divergence=compare(counts, base.p, base.m),
        to_reference=compare(counts, base.p, base.m),
        alarms=tuple(Alarm(name, True, 1.0) for name in alarms),
        t_ns=0,
    )


def judged(reference: Reference, shifts: Sequence[float], hold: str = "distribution", **detect: float) -> list[Verdict]:
    policy = Policy(DetectSettings(**detect), hold, reference)  # type: ignore[arg-type]
    return [policy.assess(report(reference, scores(ls, shift), ls)) for ls, shift in enumerate(shifts, start=1)]


def test_without_drift_every_lumi_section_is_ok(reference: Reference) -> None:
    assert {verdict.level for verdict in judged(reference, [1.0] * 50)} == {"ok"}


def test_a_drift_is_watched_first_and_called_after_the_configured_number_of_lumi_sections(reference: Reference) -> None:
    verdicts = judged(reference, [1, 1, 1, 0.9, 0.9, 0.9], consecutive_ls=3)
    assert [verdict.level for verdict in verdicts] == ["ok", "ok", "ok", "watch", "watch", "drift"]
    assert verdicts[-1].onset == (1, 4)
    assert verdicts[-1].text.startswith("Scores drift since LS 4: gain -9.")
    assert verdicts[-2].text.startswith("Scores may drift since LS 4: gain -9.")


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
    policy = Policy(DetectSettings(), "rate", reference)
    codes = scores(3)
    codes = np.where(codes < 100, codes // 2, codes)
    assert policy.assess(report(reference, codes, 1)).level == "ok"
    assert Policy(DetectSettings(), "distribution", reference).assess(report(reference, codes, 1)).level == "watch"


def test_an_alarm_of_a_detector_that_promises_its_run_length_makes_a_drift_of_what_else_is_only_watched(
    reference: Reference,
) -> None:
    def last(alarms: list[str]) -> Verdict:
        policy = Policy(DetectSettings(min_scores=1000), "distribution", reference)
        for ls in range(1, 20):
            now = alarms if ls == 19 else []
            codes = scores(ls, 1.0 if ls <= 10 else 0.92, n=1500)
            verdict = policy.assess(report(reference, codes, ls, alarms=now))
        return verdict

    assert last([]).level == last(["adwin_kl"]).level == "watch"
    assert last(["e_mixture"]).level == "drift"
    assert "e_mixture in alarm" in last(["e_mixture"]).details


def test_an_alarm_without_a_difference_that_matters_is_only_watched(reference: Reference) -> None:
    policy = Policy(DetectSettings(), "distribution", reference)
    levels = [policy.assess(report(reference, scores(ls), ls, alarms=["adwin_kl"])).level for ls in range(1, 6)]
    assert set(levels) == {"watch"}


def test_generations_are_never_mixed_and_after_a_push_a_drift_has_to_wait(reference: Reference) -> None:
    """A bad lumi section of the old payload does not count against the new one."""
    policy = Policy(DetectSettings(settle_ls=3), "distribution", reference)
    levels = [policy.assess(report(reference, scores(ls, 0.9), ls, ls // 3)).level for ls in range(1, 3)]
    assert levels == ["watch", "drift"]
    levels = [policy.assess(report(reference, scores(ls, 0.9), ls, 1)).level for ls in range(3, 8)]
    assert levels == ["watch", "watch", "watch", "drift", "drift"]
    verdict = policy.assess(report(reference, scores(8, 0.9), 8, 1))
    assert verdict.onset == (1, 3)


def test_a_late_lumi_section_of_an_older_generation_changes_nothing(reference: Reference) -> None:
    policy = Policy(DetectSettings(settle_ls=0), "distribution", reference)
    policy.assess(report(reference, scores(1), 1))
    policy.assess(report(reference, scores(2, 0.9), 2, generation=1))
    late = policy.assess(report(reference, scores(3), 1, generation=0))
    assert late.level == "thin"
    assert "late, of generation 0" in late.text
    assert policy.assess(report(reference, scores(4, 0.9), 3, generation=1)).level == "drift"


def test_too_few_scores_give_no_verdict(reference: Reference) -> None:
    policy = Policy(DetectSettings(), "distribution", reference)
    verdict = policy.assess(report(reference, scores(1, 0.5, n=100), 1))
    assert verdict.level == "thin"
    assert "100 scores" in verdict.text


def test_lumi_sections_with_few_scores_are_judged_together(reference: Reference) -> None:
    policy = Policy(DetectSettings(min_scores=2000), "distribution", reference)
    levels = [policy.assess(report(reference, scores(ls, 0.7, n=600), ls)).level for ls in range(1, 9)]
    assert levels == ["thin", "thin", "thin", "watch", "thin", "thin", "thin", "drift"]


# What follows draws counts of lumi sections of any size, with pile-up where the reference has it.

PILEUPS = np.arange(22.0, 62.0, 4.0)


def falloff(pileup: float) -> float:
    """Scores are geometric, with a rate that is linear in the pile-up, as the reference interpolates."""
    return 0.045 - pileup / 2000


def shares(edges: npt.NDArray[np.int64], pileup: float, gain: float = 1.0) -> npt.NDArray[np.float64]:
    above = (1 - falloff(pileup)) ** (np.maximum(edges - 1, 0) / gain)
    above[-1] = 0
    return np.asarray(-np.diff(above))


@pytest.fixture(scope="module")
def sliced() -> Reference:
    edges = np.arange(4097)
    counts = [np.random.default_rng(5).poisson(1e7 * shares(edges, pileup)) for pileup in PILEUPS]
    edges_of_slices = [*(PILEUPS - 2), 60.0]
    return reference_of_histogram(edges, counts, CUTS, pileup_edges=edges_of_slices, pileup_means=PILEUPS)


class Stream:
    """Lumi sections from a known distribution, judged one after the other."""

    def __init__(self, reference: Reference, hold: str = "distribution", n: int = N, **detect: float) -> None:
        self.policy = Policy(DetectSettings(**detect), hold, reference)  # type: ignore[arg-type]
        self.reference, self.n, self.ls = reference, n, 0
        self.rng = np.random.default_rng(9)

    def next(
        self, gain: float = 1.0, pileup: float = 50.0, measured: float | None = None, ripple: float = 0.0
    ) -> Verdict:
        reference = self.reference
        known = reference.pileup_means is not None
        share = shares(reference.cells.edges, pileup if known else 60.0, gain)
        share = share * (1 + ripple * np.sign(np.sin(np.arange(len(share)) / 16)))
        cells = self.rng.multinomial(self.n, share / share.sum())
        told = (pileup if measured is None else measured) if known else None
        self.ls += 1
        base = reference.expected(told, 0.03)
        counts, moment = base.bins(cells), (1, self.ls)
        above = reference.binning.above(counts).astype(np.int64)
        part = Slice(cells, self.n * (told or 0.0))
        found = compare(counts, base.p, base.m)
        return self.policy.assess(
            LsReport(
                key=Key(1, self.ls, 7, 0),
                window=Window({reference.slice_of(told): part}, above, moment, moment),
                counts=counts,
                cuts=tuple(CUTS),
                scores_since=0,
                expected=base,
                expected_rates=reference.rates_of(base.p),
                divergence=found,
                to_reference=found,
                alarms=(),
                t_ns=0,
            )
        )


@pytest.mark.parametrize("n", [20_000, 10**6, 10**8])
@pytest.mark.parametrize("tolerated", [0.0, 0.002])
def test_thousands_of_lumi_sections_without_drift_are_no_drift(reference: Reference, n: int, tolerated: float) -> None:
    stream = Stream(reference, n=n, tolerated_kl=tolerated)
    levels = [stream.next().level for _ in range(1000)]
    assert levels.count("ok") >= 997
    assert "drift" not in levels


def test_a_drift_within_the_tolerances_is_none_however_long_it_lasts(reference: Reference) -> None:
    stream = Stream(reference, n=10**6, tolerated_kl=0.005, rate_tolerance=0.5)
    assert {stream.next(gain=0.93).level for _ in range(500)} == {"ok"}


def test_a_drift_too_small_for_one_lumi_section_is_found_over_many(reference: Reference) -> None:
    stream = Stream(reference, n=20_000)
    assert {stream.next().level for _ in range(40)} == {"ok"}
    verdicts = [stream.next(gain=0.95) for _ in range(60)]
    assert verdicts[0].level == "ok"
    assert verdicts[-1].level == "drift"
    drift = verdicts[-1].drift
    assert drift is not None
    assert drift.course == "sudden"
    assert drift.onset_first <= (1, 41) <= drift.onset_last
    assert drift.onset_last[1] - drift.onset_first[1] <= 16
    assert abs(drift.size + 0.05) < 3 * drift.error < 0.01
    assert drift.kl_interval[0] < 0.00128 < drift.kl_interval[1]


def test_a_slow_ramp_is_found_and_called_gradual(reference: Reference) -> None:
    stream = Stream(reference, n=20_000)
    verdicts = [stream.next(gain=1 - 0.08 * max(0, ls - 300) / 400) for ls in range(700)]
    assert {verdict.level for verdict in verdicts[:300]} == {"ok"}
    drift = verdicts[-1].drift
    assert verdicts[-1].level == "drift"
    assert drift is not None
    assert (drift.kind, drift.course) == ("gain", "gradual")
    assert -0.082 < drift.size < -0.07
    assert drift.onset_first[1] <= 301 <= drift.onset_last[1]
    assert "by now, gradual" in verdicts[-1].text


def test_a_drift_ends_when_the_scores_are_back_and_begins_anew(reference: Reference) -> None:
    stream = Stream(reference)
    levels = [stream.next(gain=0.9 if 10 <= ls < 20 or 40 <= ls < 50 else 1.0).level for ls in range(60)]
    assert levels[:12] == ["ok"] * 10 + ["watch", "drift"]
    assert set(levels[12:20]) == {"drift"}
    assert set(levels[21:40]) == {"ok"}
    assert levels[40:42] == ["watch", "drift"]


def test_a_drift_does_not_flicker_at_the_level_where_it_was_entered(reference: Reference) -> None:
    stream = Stream(reference, tolerated_kl=0.0017, rate_tolerance=0.9)
    levels = [stream.next(gain=1.0 if ls < 20 else 0.94).level for ls in range(200)]
    assert "drift" not in levels[:20]
    assert set(levels[levels.index("drift") :]) == {"drift"}


def test_falling_pileup_is_no_drift_and_is_named_as_what_explains_the_scores(sliced: Reference) -> None:
    """Even measured 2 % wrong in waves, with as many scores as a lumi section can hold."""
    for n in (20_000, 10**8):
        stream = Stream(sliced, n=n, tolerated_kl=0.0003, rate_tolerance=0.02)
        verdicts = [
            stream.next(pileup=mu, measured=mu * (1 + 0.02 * np.sin(ls / 50)))
            for ls, mu in enumerate(np.linspace(57, 24, 300))
        ]
        assert {verdict.level for verdict in verdicts} == {"ok"}
        assert verdicts[0].pileup_only
        assert verdicts[-1].pileup_only
        assert "pile-up 57.0 explains" in verdicts[0].text
    assert not Stream(sliced).next(pileup=42.0).pileup_only


def test_a_pile_up_beyond_the_reference_gives_no_verdict(sliced: Reference) -> None:
    stream = Stream(sliced)
    assert stream.next().level == "ok"
    verdict = stream.next(gain=0.8, measured=300.0)
    assert verdict.level == "thin"
    assert "pile-up 300.0 is beyond the reference's" in verdict.text
    assert stream.next().level == "ok"


def test_a_drift_is_dated_although_the_luminosity_wanders(sliced: Reference) -> None:
    """The pile-up was 2 % too high for hundreds of lumi sections of many scores, and is 2 % too low since."""
    stream = Stream(sliced, n=10**6)
    verdicts = [stream.next(0.94 if ls >= 400 else 1.0, 24.0, 24.48 if ls < 300 else 23.52) for ls in range(402)]
    drift = verdicts[-1].drift
    assert {verdict.level for verdict in verdicts[:400]} == {"ok"}
    assert verdicts[-1].level == "drift"
    assert drift is not None
    assert drift.onset == (1, 401)
    assert drift.size == pytest.approx(-0.06, abs=1.5 * drift.error)
    assert 0.0075 < drift.error < 0.02, "one error of the pile-up, not two"


@pytest.mark.parametrize("ripple", [0.0, 0.01])
def test_a_wrong_luminosity_is_suspected_where_another_pileup_fits(sliced: Reference, ripple: float) -> None:
    """Also where a little is left to explain."""
    stream = Stream(sliced, n=10**6)
    verdicts = [stream.next(1.0, 47.0, 47.0 if ls < 10 else 52.0, ripple) for ls in range(14)]
    drift = verdicts[-1].drift
    assert verdicts[-1].level == "drift"
    assert drift is not None
    assert drift.other_pileup is not None
    assert drift.other_pileup[0] == pytest.approx(47, abs=0.5)
    assert "instead of 52.0. Check the luminosity measurement first." in verdicts[-1].text


def test_a_pileup_far_outside_its_error_is_told_but_not_trusted(sliced: Reference) -> None:
    stream = Stream(sliced)
    text = [stream.next(1.0, 40.0, 40.0 if ls < 10 else 50.0) for ls in range(14)][-1].text
    assert "would fit pile-up 40" in text
    assert "Recalibration may help. That pile-up is far outside" in text


def test_what_no_pileup_explains_is_said(sliced: Reference) -> None:
    stream = Stream(sliced)
    levels = [stream.next(pileup=24.0, gain=1.0 if ls < 10 else 0.85) for ls in range(14)]
    assert levels[-1].level == "drift"
    assert "not explained by pile-up. Recalibration may help." in levels[-1].text


def test_a_stream_that_holds_its_rate_names_the_cut(sliced: Reference) -> None:
    stream = Stream(sliced, hold="rate")
    verdict = [stream.next(pileup=55.0) for _ in range(3)][-1]
    drift = verdict.drift
    assert verdict.level == "drift"
    assert drift is not None
    assert (drift.kind, drift.cut) in {("rate only", cut) for cut in CUTS}
    assert drift.rate == pytest.approx(1 + drift.size)
    assert "Another cut may help." in verdict.text


def test_scores_are_alike_since_their_last_change_however_far_off_they_are(reference: Reference) -> None:
    assert judged(reference, [1.0] * 20)[-1].alike_since == (1, 1)
    assert judged(reference, [0.85] * 20)[-1].alike_since == (1, 1)
    changed = judged(reference, [0.95] * 20 + [0.85] * 4)[-1]
    assert changed.drift is not None
    assert changed.drift.onset < (1, 5)
    assert (1, 20) <= changed.alike_since <= (1, 21)


def test_a_drift_of_shape_and_rate_is_told_by_its_shape_where_rates_are_held() -> None:
    """A heavier tail shows most in a rate, which moved cuts bring back: what they cannot bring back decides."""
    codes, pileup = scores(1, n=1_000_000), np.repeat([10.0, 30.0], 500_000)
    reference = reference_of_sample([(codes, None, pileup)], cuts=CUTS, bits=12, pileup_edges=[0.0, 20.0, 40.0])
    policy = Policy(DetectSettings(), "rate", reference)
    for ls in range(1, 5):
        drawn = scores(ls, n=20_000)
        tail = drawn[drawn >= CUTS[0]]
        verdict = policy.assess(report(reference, np.concatenate([drawn, tail[: len(tail) // 2]]), ls))
    assert verdict.drift is not None
    assert verdict.ratios[0] > 1.3
    assert verdict.drift.words.startswith("rate only: rate above cut 150"), "as a whole, not at one cut"
