"""Carries out the loop's commands that take time, and tells the loop what became of them."""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

from firmware.errors import BoardError, FirmwareError, ProcessError
from monitor.daemon.run.activity import Activity
from monitor.daemon.run.parts import Parts
from monitor.daemon.run.tasks import Tasks
from monitor.loop import commands, events
from monitor.loop.commands import Work
from monitor.loop.events import Event
from monitor.loop.states import Mode, State
from monitor.terms import Moment
from recalib.errors import Abandoned, RecalibError
from recalib.proposal import Proposal, Step


class Loop(Protocol):
    """The loop that the work is for."""

    @property
    def state(self) -> State:
        """Where it stands now."""

    def feed(self, event: Event) -> str:
        """Move it."""

    def collected_since(self, onset: Moment) -> Moment:
        """Where the events for a fit begin."""


class Performer:
    """Does one piece of work at a time for one stream."""

    def __init__(self, stream: str, parts: Parts, activity: Activity, tasks: Tasks, loop: Loop) -> None:
        self._parts = parts
        self._activity = activity
        self._tasks = tasks
        self._loop = loop
        self._log = structlog.get_logger(stream=stream)

    async def do(self, command: Work) -> None:
        """Carry a command of a task out; what became of it, a failure too, goes back to the loop."""
        operation, outcomes = command.operation(), self._activity.outcomes
        writes = isinstance(command, commands.Arm | commands.PollLatch)
        try:
            event = await self._perform(command)
        except Abandoned as error:
            outcomes[operation, "abandoned"] += 1
            self._log.info("abandoned", operation=operation, why=str(error))
        except (FirmwareError, RecalibError) as error:
            outcomes[operation, "failed"] += 1
            unknown = writes and isinstance(error, BoardError)
            self._loop.feed(events.WorkFailed(command.task, f"{operation}: {error}", unknown))
        except Exception as error:
            self._log.exception("operation broke", operation=operation)
            outcomes[operation, "failed"] += 1
            self._loop.feed(events.WorkFailed(command.task, f"{operation}: {error!r}", writes))
        else:
            if event is not None:
                self._activity.count(event)
                self._loop.feed(event)

    async def _perform(self, command: Work) -> Event | None:
        payloads, pusher, task = self._parts.payloads, self._parts.pusher, command.task
        match command:
            case commands.Fit():
                return await self._fit(command)
            case commands.Judge():
                old, new = payloads[command.old], payloads[command.new]
                steered = self._loop.state.mode is Mode.AUTO
                return await self._parts.fitter.judge(task, command.since, old, new, steered)
            case commands.Stage():
                return await pusher.stage(task, payloads[command.payload], self._loop.state.generation)
            case commands.StartPreview():
                return await pusher.start_preview(task)
            case commands.PollPreview():
                promised = Proposal.from_dict(self._parts.record.proposal(self._loop.state.proposal).data).rates_after
                return await pusher.poll_preview(task, command.last, promised)
            case commands.Arm():
                return await pusher.arm(task)
            case commands.PollLatch():
                return await pusher.poll_latch(task)
            case _:
                raise TypeError(f"no work that a stream can do: {command!r}")

    async def _fit(self, command: commands.Fit) -> Event:
        running = asyncio.get_running_loop()

        def progress(at: Step) -> None:
            """Called in another thread; what it raises ends the worker's process, and with it the fit."""
            if self._loop.state.task != command.task:
                raise Abandoned(f"the loop has gone on to {self._loop.state.phase} while the fit was at {at.text}")
            running.call_soon_threadsafe(self._loop.feed, events.FitProgressed(command.task, at.stage, at.text))

        active = self._parts.payloads[self._loop.state.payload]
        try:
            return await self._parts.fitter.fit(
                command.task, self._loop.collected_since(self._loop.state.onset), active, progress
            )
        except (Abandoned, ProcessError):
            self._tasks.begin("warm up", self._parts.fitter.warm_up)  # the next fit must not wait for a new process
            raise
