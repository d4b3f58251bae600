"""A slot holds one piece of work."""

import asyncio

from monitor.daemon.run.tasks import Tasks


def test_new_work_takes_the_place_of_old_work_and_a_poll_does_not() -> None:
    async def scene() -> None:
        tasks, ended = Tasks(), list[str]()

        async def work(name: str) -> None:
            try:
                await asyncio.sleep(0.01)
                ended.append(name)
            except asyncio.CancelledError:
                ended.append(f"{name} dropped")
                raise

        tasks.begin("work", lambda: work("first"))
        await asyncio.sleep(0)
        tasks.poll("work", lambda: work("asked again"))
        tasks.begin("work", lambda: work("second"))
        tasks.begin("other", lambda: work("beside"))
        await asyncio.sleep(0.05)
        await tasks.idle()
        assert sorted(ended) == ["beside", "first dropped", "second"]

    asyncio.run(scene())


def test_work_that_begins_what_follows_it_is_not_dropped_by_that() -> None:
    async def scene() -> None:
        tasks, ended = Tasks(), list[str]()

        async def last() -> None:
            ended.append("last")

        async def first() -> None:
            tasks.begin("work", last)
            await asyncio.sleep(0)
            ended.append("first")

        tasks.begin("work", first)
        await asyncio.sleep(0.01)
        await tasks.idle()
        assert sorted(ended) == ["first", "last"]

    asyncio.run(scene())
