"""One stream's loop at work: it is fed what happens, and what it says is carried out."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, replace
from functools import partial

import structlog

from firmware.errors import FirmwareError
from monitor.config import StreamSettings
from monitor.daemon.run.activity import Activity
from monitor.daemon.run.collected import InForce
from monitor.daemon.run.loaded import LoadedStream
from monitor.daemon.run.parts import Listener, Parts
from monitor.daemon.run.performer import Performer
from monitor.daemon.run.record import frozen_since
from monitor.daemon.run.summary import LastLs, last_ls
from monitor.daemon.run.tasks import Tasks
from monitor.loop import commands, events
from monitor.loop.commands import Command, Work
from monitor.loop.events import Event, Ordered
from monitor.loop.orders import Approve, Freeze, Order, Reject
from monitor.loop.states import STEERED, WRITING, Phase, State
from monitor.loop.step import step
from monitor.store.kinds import ANNOUNCEMENT, PHASE, order_kind
from monitor.watch.policy import Policy, Verdict
from monitor.watch.report import Expectation, LsReport


class Runner:
    """Owns the loop of one stream. All but `deliver` happens in the event loop's thread."""

    def __init__(self, loaded: LoadedStream, parts: Parts, listener: Listener) -> None:
        self.loaded = loaded
        self.name = loaded.name
        self.settings = loaded.settings
        self.parts = parts
        self.state = State(mode=loaded.settings.mode)
        self.last: LastLs | None = None
        self.activity = Activity()
        self._rules = loaded.settings.waits.rules()
        self._policy = Policy(loaded.settings.detect, loaded.settings.hold, loaded.reference)
        self._expected = Expectation(())
        self._listener = listener
        self._tasks = Tasks()
        self._performer = Performer(loaded.name, parts, self.activity, self._tasks, self)
        self._inbox: asyncio.Queue[LsReport] = asyncio.Queue()
        self._thread = asyncio.get_running_loop()
        self._log = structlog.get_logger(stream=loaded.name)

    async def startup(self) -> None:
        """Read the board, and have the worker ready before it is needed."""
        frozen_at = frozen_since(self.parts.record, self.name)
        if frozen_at is not None:
            self.feed(Ordered(Freeze()))
            self.activity.entered_at = frozen_at
        try:
            await self.parts.pusher.end_unfinished()
        except FirmwareError as error:
            self._log.error("unfinished transaction not taken back", why=str(error))
        self._tasks.poll("reconcile", self._reconcile)
        await self.parts.fitter.warm_up()

    def use(self, settings: StreamSettings) -> None:
        """Go by other settings from now on, as far as they may change in a running daemon."""
        self.settings = settings
        self._rules = settings.waits.rules()
        self._policy.use(settings.detect)
        self.parts.pusher.use(settings.push, settings.detect.rate_tolerance)
        self.parts.collected.use(settings.recalibrate)
        self.parts.fitter.use(settings)
        if self.parts.steerer is not None:
            self.parts.steerer.use(settings)
        self.feed(events.ModeSet(settings.mode))

    def deliver(self, report: LsReport) -> None:
        """Take a closed lumi section; called in the receiver thread."""
        self._thread.call_soon_threadsafe(self._inbox.put_nowait, report)

    async def run(self) -> None:
        """Judge the lumi sections that are delivered, until cancelled."""
        while True:
            report = await self._inbox.get()
            try:
                self.on_ls(report)
            except Exception:
                self._log.exception("lumi section not judged", run=report.key.run, ls=report.key.ls)
            self._inbox.task_done()
            await asyncio.sleep(0)  # an inbox that is never empty would keep all else from its turn

    async def idle(self) -> None:
        """Until nothing is under way."""
        await self._tasks.idle()

    async def shutdown(self) -> None:
        """Leave no swap armed behind."""
        self._tasks.cancel()
        if self.state.phase in WRITING:
            await self.parts.pusher.abort()

    def feed(self, event: Event) -> str:
        """Move the loop; the reason if ``event`` was an order that is refused, else nothing."""
        before = self.state
        self.state, told = step(before, event, self._rules)
        if self.state.phase is not before.phase:
            self._entered(before.phase, event)
        if self.state.generation != before.generation and not before.steering:
            kind = {Phase.ROLLED_BACK: "rollback", Phase.WARMING: "found"}.get(self.state.phase, "push")
            self._listener.annotate(self.name, kind, self.state.reason)
        if _shown(self.state) != _shown(before):
            self._listener.changed(self.name, judged=False)
        refused = ""
        for command in told:
            if isinstance(command, commands.Refuse):
                refused = command.reason
            else:
                self._carry_out(command)
        return refused

    def why_not(self, order: Order) -> str:
        """Why an order would be refused now; nothing if it would not."""
        _, told = step(self.state, Ordered(order), self._rules)
        return next((command.reason for command in told if isinstance(command, commands.Refuse)), "")

    def order(self, order: Order, reason: str, by: str) -> str:
        """Take an operator's order; the reason if it is refused, else nothing."""
        proposal = self.state.proposal
        refused = self.feed(Ordered(order))
        word = order.word()
        level = "warning" if refused else "info"
        text = f"{word} refused: {refused}" if refused else word
        told = {"reason": reason, "by": by, **asdict(order)}
        self.parts.record.add_event(self.name, order_kind(word), level, text, told)
        if isinstance(order, Approve | Reject) and not refused:
            self.parts.record.decide(proposal, word, by, reason)
        return refused

    def on_ls(self, report: LsReport) -> None:
        """Judge a closed lumi section and tell the loop."""
        self.activity.ls_closed += 1
        # Boards are read once a lumi section, so that one that went away or was changed by others is noticed.
        self._tasks.poll("reconcile", self._reconcile)
        verdict = self._policy.assess(report)
        self.parts.collected.add(report, verdict)
        steer = self._steer(report)
        self._show(report, verdict)
        confirming = self.state.phase is Phase.CONFIRMING
        onset = verdict.onset if self.state.phase is Phase.WATCHING else self.state.onset
        since = self.state.latched if confirming else self.collected_since(onset)
        self.feed(
            events.LsClosed(
                at=(report.key.run, report.key.ls),
                level=verdict.level,
                epoch=report.key.epoch,
                generation=report.key.generation,
                onset=verdict.onset,
                sample_ready=self.parts.collected.enough(since),
                text=verdict.text,
                steer=steer,
                by_cuts=self.parts.steerer is not None
                and verdict.drift is not None
                and verdict.drift.kind == "rate only",
            )
        )
        self._listener.changed(self.name, judged=True)

    def _entered(self, was: Phase, event: Event) -> None:
        self.activity.entered_at = time.time()
        self.activity.entries[self.state.phase] += 1
        run, ls = self.state.at
        self._log.info("phase", run=run, ls=ls, phase=str(self.state.phase), was=str(was), why=self.state.reason)
        cause = event.order if isinstance(event, Ordered) else event
        data = {"was": was, "event": type(cause).__name__, "reason": self.state.reason}
        self.parts.record.add_event(self.name, PHASE, "info", str(self.state.phase), data)

    def _show(self, report: LsReport, verdict: Verdict) -> None:
        was_drift = self.last is not None and self.last.level == "drift"
        if verdict.level == "drift" and not was_drift:
            self._listener.annotate(self.name, "drift", verdict.text)
        reference = self.loaded.reference
        targets = reference.target_rates if self.settings.hold == "rate" else report.expected_rates
        self.last = last_ls(report, verdict, reference, targets.tolist())
        self.activity.judged_at = time.time()
        if verdict.level in ("watch", "drift"):
            key = report.key
            self._log.warning(verdict.text, run=key.run, ls=key.ls, verdict=verdict.level, details=verdict.details)

    def collected_since(self, onset: tuple[int, int]) -> tuple[int, int]:
        """Where the events for a fit begin: at the onset or the last change, never before the active payload."""
        return self.parts.collected.alike_since(max(onset, self.state.latched))

    def _steer(self, report: LsReport) -> str:
        """The id of the active payload with the cuts that will hold the rates, if they are others."""
        steerer = self.parts.steerer
        if steerer is None or not self.parts.collected.in_force.includes(report):
            return ""
        steerer.see(report)
        if self.state.phase not in STEERED:
            return ""
        moved = steerer.moved(self.parts.payloads[self.state.payload], self._expected)
        return "" if moved is None else self.parts.payloads.keep(moved, "steering").id

    def _carry_out(self, command: Command) -> None:
        match command:
            case commands.Announce():
                run, ls = self.state.at
                getattr(self._log, command.level)(command.text, run=run, ls=ls)
                self.parts.record.add_event(self.name, ANNOUNCEMENT, command.level, command.text)
            case commands.Adopt():
                self._adopt(command)
            case commands.Reconcile():
                self._tasks.poll("reconcile", self._reconcile)
            case commands.Abort():
                self._tasks.begin("work", self.parts.pusher.abort)
            case commands.PollPreview() | commands.PollLatch() | commands.Judge():
                self._tasks.poll("work", partial(self._performer.do, command))
            case Work():
                self._tasks.begin("work", partial(self._performer.do, command))

    async def _reconcile(self) -> None:
        """Find out what the board runs; whatever was armed by no transaction of this loop is disarmed."""
        try:
            state, payload = await self.parts.pusher.read()
        except FirmwareError as error:
            if self.state.reason != str(error):
                self.state = replace(self.state, reason=str(error))
                self._log.warning("board not read", why=str(error))
                self.parts.record.add_event(self.name, "board", "warning", str(error))
            return
        self.parts.payloads.keep(payload, "found on the board")
        since = (state.run, state.latched_ls)
        self.feed(events.BoardSeen(state.epoch, state.generation, payload.id, since))

    def _adopt(self, command: commands.Adopt) -> None:
        payload = self.parts.payloads[command.payload]
        if command.steered:
            # Scores mean the same under other cuts: what was collected and predicted still counts.
            self._expected = replace(self._expected, cuts=tuple(payload.raw("cuts").tolist()))
        else:
            self._expected = replace(self.parts.payloads.expectation(payload), scores_since=command.generation)
            if self.parts.steerer is not None:
                self.parts.steerer.adopt(payload)
        since = self._expected.scores_since
        self.parts.collected.in_force = InForce(
            command.epoch, command.generation, command.generation if since is None else since
        )
        self.parts.monitor.expect(command.epoch, command.generation, self._expected)
        run, ls = command.since
        self.parts.record.record_iov(self.name, run, ls, payload.id, command.generation, command.epoch)


def _shown(state: State) -> tuple[Phase, int, str]:
    """What people are told of at once when it changes."""
    return state.phase, state.generation, state.proposal
