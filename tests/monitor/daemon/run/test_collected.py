"""What a fit may look at: only what was decided by scores that mean what the active payload's mean."""

import asyncio

from monitor.daemon.run.collected import InForce
from monitor.watch.policy import Verdict
from tests.monitor.daemon.run.scene import EPOCH, Scene

OK = Verdict("ok", "")
FEW = {"recalibrate": {"min_events": 1000, "min_accepts": 500}}


def test_events_and_accepts_of_another_generation_do_not_count() -> None:
    async def scene() -> None:
        at = Scene(**FEW)
        at.collected.in_force = InForce(EPOCH, 1, 1)
        for ls, generation in ((1, 0), (2, 0), (3, 1)):
            at.offer(ls, n=800, generation=generation)
            at.collected.add(at.report(ls, generation=generation), OK)
        assert at.collected.events == 800
        assert not at.collected.enough((0, 0))
        at.offer(4, n=800, generation=1)
        at.collected.add(at.report(4, generation=1), OK)
        assert at.collected.enough((0, 0))
        assert not at.collected.enough((1, 4))

    asyncio.run(scene())


def test_cuts_that_moved_do_not_make_earlier_events_worthless() -> None:
    async def scene() -> None:
        at = Scene(**FEW)
        at.offer(1, n=800, generation=1)
        at.offer(2, n=800, generation=2)
        at.collected.in_force = InForce(EPOCH, 2, 1)
        assert at.collected.events == 1600

    asyncio.run(scene())


def test_what_is_collected_begins_where_the_scores_are_alike() -> None:
    async def scene() -> None:
        at = Scene()
        at.collected.add(at.report(5), Verdict("drift", "", alike_since=(1, 4)))
        assert at.collected.alike_since((1, 2)) == (1, 4)
        assert at.collected.alike_since((1, 9)) == (1, 9)
        at.collected.add(at.report(6), Verdict("thin", "", alike_since=(1, 6)))
        assert at.collected.alike_since((1, 2)) == (1, 4)

    asyncio.run(scene())


def test_without_a_pile_up_the_rates_to_restore_are_the_references_own() -> None:
    async def scene() -> None:
        at = Scene()
        at.collected.in_force = InForce(EPOCH, 0, 0)
        at.collected.add(at.report(1), OK)
        wanted = at.collected.wanted((0, 0))
        assert wanted.pileup is None
        assert wanted.p_ref.tolist() == at.loaded.reference.p.tolist()

    asyncio.run(scene())
