"""The figures of the ingest are made of messages that arrive, are sound, and are as the reference says."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from firmware.wire import CROSSINGS, decode
from monitor.bench.ingest import costs
from monitor.bench.traffic import BITS, MASK, PILEUPS, POOL, reference, run_of
from monitor.cli.main import main
from tests.support.places import ROOT

CONFIG = ROOT / "config.toml"


@pytest.mark.parametrize("dtype", BITS)
@pytest.mark.parametrize("per_message", [1, 18])
def test_a_run_is_one_of_real_messages_of_the_expected_scores(dtype: str, per_message: int) -> None:
    messages = [decode(frames) for frames in run_of(dtype, per_message, 5 * POOL, run=3)]
    begin, *batches, end = messages
    assert (begin.header.kind, end.header.kind) == ("begin", "end")
    assert [message.header.seq for message in messages] == list(range(5 * POOL // per_message + 2))
    assert begin.mask is not None
    assert begin.mask.tolist() == MASK.tolist()
    assert {batch.header.n for batch in batches} == {per_message * CROSSINGS}
    assert [batch.header.orbit for batch in batches] == list(range(0, 5 * POOL, per_message))
    assert sum(batch.events is not None for batch in batches) == 2
    known = reference(dtype)
    pool = np.concatenate([batch.codes.reshape(-1, CROSSINGS)[:, MASK].ravel() for batch in batches])
    counts, expected = known.binning.count(pool), known.expected(PILEUPS[0])
    p = counts / counts.sum()
    assert float((p * np.log(np.maximum(p, 1e-12) / expected.p)).sum()) < 2e-3


def test_nothing_is_lost_and_the_daemon_is_slower_than_nothing() -> None:
    ran = CliRunner().invoke(main, ["bench", "ingest", "--config", str(CONFIG), "--rounds=1", "--orbits=720", "--json"])
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.stdout)
    assert found["lost"] == 0
    for size in ("orbit", "64k"):
        each = [found["by_dtype"][dtype] for dtype in BITS]
        assert found[f"ratio_{size}"] == min(rates[f"ratio_{size}"] for rates in each)
        assert 0 < found[f"ratio_{size}"] < 2
        assert found[f"scores_per_s_{size}"] > 1e5
    assert 50 < found["rss_mb_start"] <= found["rss_mb_peak"] + 1
    assert found["counting"] in ("compiled", "numpy")


def test_the_costs_of_a_message_are_told_apart() -> None:
    found = costs(CONFIG, "u2", "64k")
    assert set(found) == {"decoding", "counting", "detectors"}
    assert min(found.values()) > 0
