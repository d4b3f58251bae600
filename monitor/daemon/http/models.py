"""What the HTTP interface answers: the models that its OpenAPI document is made of.

A number that is not finite is null.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from firmware.model.payload import Change
from monitor.daemon.http.tokens import Role
from monitor.loop.states import Mode, Phase
from monitor.store.rows import EventRow, Iov
from monitor.terms import Hold, Level
from monitor.watch.drift import Drift

Number = float | None
Interval = tuple[Number, Number]


class Answer(BaseModel):
    """What all answers have in common: no other fields than those named, and null where a number is not finite."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="null")


class Error(Answer):
    """What was given, what was expected, what to do."""

    error: str


class Live(Answer):
    """`live` is always true: a daemon that answers is alive."""

    live: Literal[True] = True


class Ready(Answer):
    """`ready`: whether messages of every stream have come within the time after which it is silent."""

    ready: bool


class Nothing(Answer):
    """No lumi section has been judged yet."""


class Divergences(Answer):
    """One lumi section in numbers and words; rates are shares of the counted crossings, one for each cut."""

    run: int
    ls: int
    epoch: int
    generation: int
    n: int
    pileup: Number
    level: Level
    text: str
    details: str
    drift: Drift | None
    pileup_only: bool
    kl: Number
    kl_error: Number
    psi: Number
    kl_expected: Number
    p_value: Number
    rates: list[float]
    expected_rates: list[float]
    ratios: list[Number]
    pulls: list[Number]
    cuts: list[int]
    detectors: dict[str, Number]
    t_ns: int


class Window(Divergences):
    """With the counts (B,) and what is expected (B,), in bins between the codes `edges` (B + 1,)."""

    counts: list[int]
    expected: list[float]
    edges: list[int]


class NamedWindow(Window):
    """A window with the name of its stream: the data of the event `window`."""

    stream: str


class Last(Divergences):
    """With all distances to the reference and their 95 % intervals, and the rates that are to be held."""

    wasserstein: Number
    wasserstein_floor: Number
    ks: Number
    ks_p_value: Number
    kl_interval: Interval
    kl_reverse: Number
    psi_interval: Interval
    js: Number
    js_interval: Interval
    targets: list[float]


class Tolerances(Answer):
    """Up to which nothing is a drift; `psi` is that of a small drift of the KL `kl`, `rate` is relative."""

    kl: float
    psi: float
    rate: float


class Stream(Answer):
    """Where a stream's loop stands.

    `last` is its last lumi section, `registers` those that differ from the nominal ones (200 at most),
    `cuts` are codes, `lsb` is the score of one, `silent_s` the seconds since a message came,
    `silent_after_s` from when on that is too long.
    """

    name: str
    phase: Phase
    mode: Mode
    hold: Hold
    reason: str
    generation: int
    epoch: int
    payload: str
    previous: str
    proposal: str
    target_ls: int
    ls_closed: int
    last: Last | Nothing
    registers: list[Change]
    cuts: list[int]
    target_rates: list[float]
    tolerances: Tolerances
    lsb: float
    datapath: str
    board: str
    outcomes: dict[str, int]
    silent_s: Number
    silent_after_s: float


class Brief(Answer):
    """One stream in a line; `level` is null until a lumi section was judged."""

    name: str
    phase: Phase
    mode: Mode
    level: Level | None


class Board(Answer):
    """Where a board is reached, whether its last call went well (`up`), and if not, what went wrong."""

    uri: str
    up: bool
    error: str


class NamedBoard(Board):
    """A board with its name: the data of the event `board`."""

    name: str


class Status(Answer):
    """`memory_bytes` by process, `malformed` messages by source and cause, `started` in Unix seconds."""

    streams: dict[str, Stream]
    boards: dict[str, Board]
    memory_bytes: dict[str, int]
    malformed: dict[str, int]
    started: float


class Gate(Answer):
    """One condition on a proposal: the number, its limit, and in words what both are; `advice` rejects nothing."""

    name: str
    value: Number
    limit: Number
    passed: bool
    text: str
    advice: bool = False


class Candidate(Answer):
    """What one knob can do, on events that its fit has not seen; `verdict` says why it was taken or left."""

    knob: str
    kl: Number
    kl_error: Number
    rates: list[Number]
    retention: Number
    explained: Number
    moves: dict[str, Number]
    passes: Number
    verdict: str
    errors: dict[str, Number] = {}
    estimated_overlap: list[Number] = []


class Proposal(Answer):
    """A candidate payload with its evidence, as `recalib.proposal.Proposal` says; `words` in base64.

    What an older version of the program did not store is not there.
    """

    id: str
    stream: str
    knob: str
    base_id: str
    payload_id: str
    words: str
    accepted: bool
    reason: str
    restores: bool
    p_ref: list[Number]
    predicted: list[Number]
    events: int
    n_eff: Number
    kl_before: Number
    kl_after: Number
    kl_floor: Number
    rates_before: list[Number]
    rates_after: list[Number]
    rates_target: list[Number]
    rate_errors: list[Number]
    retention: list[Number]
    move: Number
    beta: Number
    delta: Number
    attention: str = ""
    gates: list[Gate] = []
    candidates: list[Candidate] = []
    passes: Number = 0.0
    seconds: Number = 0.0
    seen: list[Number] = []
    squares: list[Number] = []
    edges: list[int] = []
    m: Number = 0.0
    cuts_before: list[int] = []
    cuts_after: list[int] = []


class Summary(Answer):
    """Of the registers of one field that would change: how many, and the range of their new values."""

    field: str
    changed: int
    min: float
    max: float


class Changes(Answer):
    """What writing a payload would change of the active one, 200 registers at most.

    `n_changes` counts them all, as `fields` does by field.
    """

    changes: list[Change]
    n_changes: int
    fields: list[Summary]


class Payload(Answer):
    """`how` it came to the ledger; `generation` is the last one that it was active as."""

    id: str
    how: str
    created_ns: int
    generation: int | None
    active: bool
    previous: bool
    nominal: bool


class PayloadChanges(Payload, Changes):
    """A payload, what writing it would change, and its registers that are not the nominal ones, 200 at most."""

    against_nominal: list[Change]
    n_against_nominal: int


class History(Answer):
    """`iovs`, oldest first: which payload decided since when; `events`, newest first: what happened."""

    iovs: list[Iov]
    events: list[EventRow]


class LedgerEvent(Answer):
    """What was written to the ledger: an event as in `History`, or a step of a push, or a decision.

    Steps and decisions are not in `History`; their `id` is of words.
    """

    id: int | str
    time: int
    stream: str | None
    kind: str
    level: str
    text: str
    data: dict[str, Any]


class Command(Answer):
    """Whether the caller may give it now; if not, `why_not`."""

    name: str
    role: Role
    allowed: bool
    why_not: str


class Caller(Answer):
    """Who asks: the name of the token or `anonymous`, and the role."""

    name: str
    role: Role


class AuditEntry(Answer):
    """One link of the chain; `of` is the sequence of the entry by which the command was received."""

    sequence: int
    time: str
    who: str
    role: str
    peer: str
    agent: str
    stream: str
    command: str
    arguments: dict[str, str | bool]
    reason: str
    outcome: str
    status: int
    text: str
    of: int
    count: int
    previous: str
    hash: str


class Audit(Answer):
    """Newest first; `head` is the hash of the newest, `count` the number of all."""

    head: str
    count: int
    entries: list[AuditEntry]
