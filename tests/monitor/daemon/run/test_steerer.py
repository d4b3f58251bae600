"""Cuts follow the rates of a stream that holds them."""

import asyncio

import numpy as np

from monitor.watch.report import Expectation
from tests.monitor.daemon.run.scene import Scene


def seen(scene: Scene, scale: float, n: int = 30) -> None:
    assert scene.steerer is not None
    for ls in range(1, n):
        scene.steerer.see(scene.report(ls, scale))


def test_cuts_stay_where_the_rates_are_on_target() -> None:

    async def scene() -> None:
        at = Scene(hold="rate")
        assert at.steerer is not None
        seen(at, 1.0)
        assert at.steerer.moved(at.nominal, Expectation(())) is None

    asyncio.run(scene())


def test_cuts_fall_with_the_scores_and_nothing_else_of_the_payload_changes() -> None:

    async def scene() -> None:
        at = Scene(hold="rate")
        assert at.steerer is not None
        seen(at, 0.9)
        moved = at.steerer.moved(at.nominal, Expectation(()))
        assert moved is not None
        ratio = moved.raw("cuts") / at.nominal.raw("cuts")
        np.testing.assert_allclose(ratio, 0.9, rtol=0.03)
        assert {change.field for change in at.nominal.diff(moved)} == {"cuts"}

    asyncio.run(scene())


def test_what_was_learnt_is_forgotten_when_the_scores_mean_something_else_but_not_under_other_cuts() -> None:

    async def scene() -> None:
        at = Scene(hold="rate")
        assert at.steerer is not None
        at.steerer.adopt(at.nominal)
        seen(at, 0.9)
        at.steerer.adopt(at.nominal.replace(cuts=at.nominal.raw("cuts") + 7))
        assert at.steerer.moved(at.nominal, Expectation(())) is not None
        scales = at.nominal.raw("input_scale")
        at.steerer.adopt(at.nominal.replace(input_scale=scales + 1))
        assert at.steerer.moved(at.nominal, Expectation(())) is None

    asyncio.run(scene())


def test_a_stream_that_holds_its_distribution_has_no_steerer() -> None:

    async def scene() -> None:
        assert Scene().steerer is None

    asyncio.run(scene())
