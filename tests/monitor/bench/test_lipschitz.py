"""The figures of constrained encoders: fair to models of any scale of scores, and made of what they say."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from firmware.sim.world.events import SIGNALS
from monitor.bench import lipschitz as bench_lipschitz
from monitor.bench.lipschitz import DRIFTS, Scored, Settings, against, at_cut, figures, lipschitz, table
from monitor.bench.working_point import RATES
from monitor.cli.main import main
from recalib.training.encoder import train


@pytest.fixture(scope="module")
def found() -> dict:  # type: ignore[type-arg]
    return lipschitz(Settings((1.5,), 1, 20_000, 2, events=100_000, seed=3), lambda text: None)


def test_twins_give_the_rates_change_and_the_overlap() -> None:
    before, after = np.arange(100) < 20, (np.arange(100) >= 4) & (np.arange(100) < 28)
    assert at_cut(before, after) == {"rate_change": 0.2, "rate_change_error": pytest.approx(12**0.5 / 20, rel=1e-4),
                                     "overlap": pytest.approx(16 / 24, rel=1e-4)}  # fmt: skip


def test_a_model_of_twice_the_scores_has_the_same_figures() -> None:
    """Only ranks count."""
    model = train(1, bench_lipschitz.training_events(1, 4096), 2, epochs=1, progress=lambda text: None)
    random = np.random.default_rng(2)
    codes = random.exponential(900, 60_000).astype(np.int64) * 2
    drifted = {name: codes + 2 * (random.random(60_000) < 0.4) * (codes // 20) for name in DRIFTS}
    signals = dict.fromkeys(SIGNALS, codes[:5000] + 4000)
    one = figures(Scored(model, codes, drifted, signals))
    half = {name: values // 2 for name, values in drifted.items()}
    two = figures(Scored(model, codes // 2, half, {kind: values // 2 for kind, values in signals.items()}))
    for name in DRIFTS:
        assert one["drifts"][name]["kl"] == pytest.approx(two["drifts"][name]["kl"], rel=0.05)
        for a, b in zip(one["drifts"][name]["at_cuts"], two["drifts"][name]["at_cuts"], strict=True):
            assert a["rate_change"] == pytest.approx(b["rate_change"], abs=0.03)


def test_the_constrained_model_keeps_its_bound_and_is_held_against_the_plain_one(found: dict) -> None:  # type: ignore[type-arg]
    (plain,), (held,) = found["models"]["plain"], found["models"]["1.5"]
    assert held["gain"] <= 1.5 < plain["gain"]
    ratio = found["against_plain"]["1.5"]
    changes = [[abs(at["rate_change"]) for d in DRIFTS for at in row["drifts"][d]["at_cuts"]] for row in (held, plain)]
    assert ratio["rate_change"]["mean"] == pytest.approx(np.exp(np.log(np.divide(*changes)).mean()), rel=1e-3)
    assert ratio["rate_change"]["error"] is None
    assert all(len(values) == len(RATES) for values in held["signal_efficiency"].values())
    assert against([plain], [plain])["lost"]["mean"] == 1.0
    assert any("L = 1.5 over plain" in line for line in table(found))


def test_the_command_prints_one_json_object(monkeypatch: pytest.MonkeyPatch, found: dict) -> None:  # type: ignore[type-arg]
    monkeypatch.setattr(bench_lipschitz, "lipschitz", lambda settings, progress: found | {"bounds": settings.bounds})
    done = CliRunner().invoke(main, ["bench", "lipschitz", "--bound", "3", "--seed", "3", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["bounds"] == [3.0]
