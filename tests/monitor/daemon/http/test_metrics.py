"""What the metrics promise Prometheus: counters that only grow, and times that survive a restart."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.errors import FirmwareError
from monitor.config import ConfigError, GrafanaSettings
from monitor.daemon.http.metrics import counter, gauge
from monitor.daemon.run.boards import BoardLink, StreamBoards
from monitor.daemon.service import annotator
from monitor.watch.accounting import Accounting


@given(st.permutations(range(30)), st.sets(st.integers(0, 29)))
def test_no_count_of_messages_ever_falls(order: list[int], dropped: set[int]) -> None:
    """What is lost falls when a late message comes; what was missed, and what was recovered, do not."""
    account, before = Accounting(), (0, 0, 0, 0)
    for seq in (seq for seq in order if seq not in dropped):
        account.accept(seq)
        after = account.received, account.missed, account.recovered, account.duplicates
        assert all(new >= old for new, old in zip(after, before, strict=True))
        before = after
    assert account.lost == account.missed - account.recovered == len(account.missing)


def test_a_board_that_does_not_answer_is_counted_at_every_turn_and_one_that_does_is_not() -> None:
    """Its link counts; whatever the call raises goes on to the caller."""
    link = BoardLink("gt", "ipbusudp-2.0://127.0.0.1:1", "<node/>", None, 1.0)
    boards = StreamBoards([link])

    def call(error: str) -> None:
        link.board.error = error
        if error:
            raise FirmwareError(error)

    for _ in range(2):
        with pytest.raises(FirmwareError, match="silent"):
            asyncio.run(boards.call(call, "silent"))
    asyncio.run(boards.call(call, ""))
    assert (link.errors, link.up) == (2, True)
    link.close()


def test_a_value_that_is_not_known_is_no_sample() -> None:
    assert gauge("a", "b", ["stream"], [(["x"], None)]).samples == []
    assert [sample.value for sample in gauge("a", "b", ["stream"], [(["x"], 0.0)]).samples] == [0.0]
    assert [sample.name for sample in counter("a", "b", [], [([], 1)]).samples] == ["a_total"]


def test_a_grafana_without_a_token_is_a_fault_of_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GRAFANA_TOKEN", raising=False)
    with pytest.raises(ConfigError, match="token cannot be read"):
        annotator(GrafanaSettings(url="http://127.0.0.1:3000", token_file=tmp_path / "token"))
    assert annotator(None) is None
