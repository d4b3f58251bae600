"""What the page's JavaScript must know of the daemon, as a module that is made from the daemon's own names.

The page imports it as ``./words.js``, beside the files of `web`; so a phase, a mode or a limit is written once, here or
where the daemon itself has it, and a renamed one reaches the page with the next start.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import get_args

from monitor.daemon.http import commands, queries, sse
from monitor.daemon.http.views import NOT_IN_HISTORY, ROLES
from monitor.loop.orders import Freeze
from monitor.loop.states import Mode, Phase
from monitor.store.kinds import ANNOUNCEMENT, order_kind
from monitor.terms import Level
from recalib.knobs.names import CUTS_TOO

FILE = "words.js"


@dataclass(frozen=True)
class StepText:
    """A step of a recalibration: its label, and what is being done while it lasts."""

    title: str
    doing: str


STEPS = {
    Phase.COLLECTING: StepText("collect", "collecting events"),
    Phase.FITTING: StepText("fit", "fitting"),
    Phase.GATING: StepText("gates", "judging the fit"),
    Phase.AWAITING_APPROVAL: StepText("approval", "waiting for an approval"),
    Phase.STAGING: StepText("stage", "writing the shadow bank"),
    Phase.PREVIEWING: StepText("preview", "previewing"),
    Phase.ARMED: StepText("armed", "armed"),
    Phase.CONFIRMING: StepText("confirm", "confirming"),
}
"""In the order in which they follow each other."""

AFTER_GATES = {
    Mode.AUTO: "A proposal that passes its gates is written to the board, unless its evidence asks for a person.",
    Mode.SUPERVISED: "A proposal that passes its gates waits for an approval.",
    Mode.SHADOW: "Nothing is written: this stream is in shadow mode.",
}
"""What becomes of a proposal that passes its gates, for the operator who asks for one."""


def module() -> str:
    """The text of the JavaScript module."""
    exports = {
        "API": queries.router.prefix,
        "HEARTBEAT_MS": round(1000 * sse.HEARTBEAT_S),
        "REASON_CHARACTERS": commands.REASON_CHARACTERS,
        "Phase": _members(Phase),
        "Mode": _members(Mode),
        "Level": _named(get_args(Level)),
        "Command": _named([order.word() for order in ROLES]),
        "Sent": _named(get_args(sse.Name)),
        "STEPS": [{"phase": phase} | asdict(step) for phase, step in STEPS.items()],
        "AFTER_GATES": AFTER_GATES,
        "NOT_IN_HISTORY": NOT_IN_HISTORY,
        "ANNOUNCEMENT": ANNOUNCEMENT,
        "FREEZE_ORDER": order_kind(Freeze.word()),
        "CUTS_TOO": CUTS_TOO,
    }
    head = "// Made by monitor/daemon/http/words.py from the names of the daemon.\n\n"
    return head + "".join(f"export const {name} = {json.dumps(value)};\n" for name, value in exports.items())


def _members(words: type[StrEnum]) -> dict[str, str]:
    return {word.name: str(word) for word in words}


def _named(words: Iterable[str]) -> dict[str, str]:
    return {word.upper(): word for word in words}
