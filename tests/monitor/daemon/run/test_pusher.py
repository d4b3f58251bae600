"""The daemon's way to several boards of one stream: real registers behind real uHAL, each under a clock of the test."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from firmware.errors import FirmwareError
from monitor.config import PushSettings
from monitor.daemon.run.boards import BoardLink, StreamBoards
from monitor.daemon.run.pusher import Pusher
from monitor.store.ledger import Ledger
from tests.support.rig import STREAM, Rig, tiny_model


class Site(NamedTuple):
    rigs: list[Rig]
    push: Pusher
    ledger: Ledger
    frozen: list[bool]

    def begin_ls(self, n: int) -> None:
        for rig in self.rigs:
            rig.begin_ls(n)

    @property
    def active(self) -> list[str]:
        return [rig.bank.active.id for rig in self.rigs]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    rigs = [Rig(tiny_model()), Rig(tiny_model())]
    links = [BoardLink(name, rig.uri, rig.table, None, 2.0) for name, rig in zip(("gt", "spare"), rigs, strict=True)]
    frozen = [False]
    with Ledger(tmp_path / "ledger.db") as ledger:
        for payload in (rigs[0].nominal, rigs[0].payload):
            ledger.add_payload(STREAM, payload, "test")
        boards = StreamBoards(links)
        push = Pusher(
            STREAM, lambda playback: rigs[0].validation, boards, ledger, PushSettings(), 0.1, frozen=lambda: frozen[0]
        )
        yield Site(rigs, push, ledger, frozen)
    for link in links:
        link.close()
    for rig in rigs:
        rig.close()


async def armed(site: Site) -> None:
    await site.push.stage(1, site.rigs[0].payload, 0)
    await site.push.arm(1)


def test_a_push_reaches_all_boards(site: Site) -> None:
    async def scene() -> None:
        await armed(site)
        site.begin_ls(2)
        assert await site.push.poll_latch(1) is not None
        state, payload = await site.push.read()
        assert (state.generation, payload.id) == (1, site.rigs[0].payload.id)

    asyncio.run(scene())
    assert site.active == [site.rigs[0].payload.id] * 2


@pytest.mark.parametrize("laggard", [0, 1], ids=["the first missed it", "the second missed it"])
def test_boards_that_went_apart_are_brought_to_the_payload_of_the_first(site: Site, laggard: int) -> None:
    async def scene() -> None:
        await armed(site)
        site.rigs[laggard].bank.write(0x13, [2])
        site.begin_ls(2)
        failed = await site.push.poll_latch(1)
        assert failed is not None
        with pytest.raises(FirmwareError, match=r"spare: another payload is active than on gt, .* armed for LS 14"):
            await site.push.read()
        with pytest.raises(FirmwareError, match=r"boards run different payloads: .* is armed for LS 14"):
            await site.push.read()
        site.begin_ls(2)
        state, payload = await site.push.read()
        first = site.rigs[0]
        assert payload.id == (first.nominal if laggard == 0 else first.payload).id
        assert state.generation == 1 - (laggard == 0)
        assert site.active == [payload.id] * 2
        assert site.ledger.open_transaction(STREAM) == []
        assert site.ledger.history(STREAM) == []

    asyncio.run(scene())


def test_a_board_that_restarts_gets_the_payload_again(site: Site) -> None:
    async def scene() -> None:
        await armed(site)
        site.begin_ls(2)
        await site.push.poll_latch(1)
        site.rigs[1].registers.boot()
        with pytest.raises(FirmwareError, match="spare: another payload is active"):
            await site.push.read()
        site.begin_ls(2)
        await site.push.read()

    asyncio.run(scene())
    assert site.active == [site.rigs[0].payload.id] * 2


def test_nothing_is_brought_together_while_frozen_or_while_a_swap_is_due(site: Site) -> None:
    async def scene() -> None:
        await armed(site)
        site.rigs[0].begin_ls(2)
        await site.push.read()
        site.rigs[1].begin_ls(2)
        await site.push.poll_latch(1)
        site.rigs[1].registers.boot()
        site.frozen[0] = True
        await site.push.read()
        assert not site.rigs[1].bank._status

    asyncio.run(scene())
    assert site.active == [site.rigs[0].payload.id, site.rigs[0].nominal.id]


def test_the_link_says_which_board_is_silent(site: Site) -> None:
    async def scene() -> None:
        site.rigs[1].close()
        with pytest.raises(FirmwareError):
            await site.push.read()

    asyncio.run(scene())
    links = site.push._boards._links
    assert [link.up for link in links] == [True, False]
    assert "imeout" in links[1].status()["error"]
