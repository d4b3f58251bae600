"""The payloads of a stream: their words, and what they should give."""

from __future__ import annotations

from firmware.model.package import Package
from firmware.model.payload import Payload
from monitor.daemon.run.record import Record
from monitor.store.errors import LedgerError
from monitor.watch.report import Expectation
from recalib.proposal import Proposal


class Payloads:
    """Those of the record, unpacked once.

    Raises:
        LedgerError: where the record cannot be written.
    """

    def __init__(self, stream: str, package: Package, record: Record) -> None:
        self._stream = stream
        self._package = package
        self._record = record
        self._unpacked = {package.nominal.id: package.nominal}
        record.add_payload(stream, package.nominal, "nominal")

    def __getitem__(self, id: str) -> Payload:
        """The words of a payload by its whole id; LedgerError if there is none."""
        if id not in self._unpacked:
            self._unpacked[id] = self._record.payload(id, self._stream).unpack(self._package.model.layout)
        return self._unpacked[id]

    def seen(self, id: str) -> Payload | None:
        """The same, of those that need not be read from the record."""
        return self._unpacked.get(id)

    def keep(self, payload: Payload, origin: str) -> Payload:
        """Keep a payload that may be new."""
        if payload.id not in self._unpacked:
            self._record.add_payload(self._stream, payload, origin)
            self._unpacked[payload.id] = payload
        return payload

    def find(self, name: str) -> str | None:
        """The id of the payload for any unique beginning of it, or for ``nominal``."""
        if name == "nominal":
            return self._package.nominal.id
        try:
            return self._record.payload(name, self._stream).id
        except LedgerError:
            return None

    def expectation(self, payload: Payload) -> Expectation:
        """What p(s) the payload should give: p_ref, unless its proposal predicted something else."""
        cuts = tuple(int(cut) for cut in payload.raw("cuts"))
        for stored in self._record.proposals(self._stream):
            proposal = Proposal.from_dict(stored.data)
            if proposal.payload_id == payload.id and proposal.accepted:
                if proposal.restores:
                    break
                return Expectation(cuts, proposal.predicted / proposal.p_ref, proposal.n_eff)
        return Expectation(cuts)
