"""Payloads by their ids, and what they should give."""

import asyncio

import numpy as np
import pytest

from monitor.store.errors import LedgerError
from tests.monitor.daemon.run.scene import Scene


def test_a_payload_is_found_by_any_unique_beginning_and_by_the_word_nominal() -> None:
    async def scene() -> None:
        at = Scene()
        other = at.payloads.keep(at.nominal.replace(cuts=at.nominal.raw("cuts") + 1), "test")
        assert at.payloads.find("nominal") == at.nominal.id
        assert at.payloads.find(other.id[:16]) == other.id
        assert at.payloads.find("0" * 64) is None
        with pytest.raises(LedgerError):
            at.payloads["0" * 64]

    asyncio.run(scene())


@pytest.mark.parametrize("restores", [True, False])
def test_a_payload_should_give_what_its_proposal_predicted_unless_it_restores_the_reference(restores: bool) -> None:
    async def scene() -> None:
        at = Scene()
        p = at.loaded.reference.p
        predicted = p * np.linspace(0.9, 1.1, len(p))
        proposal = at.proposal(restores=restores, predicted=predicted)
        payload = at.payloads.keep(at.nominal.replace(cuts=at.nominal.raw("cuts") + 1), "test")
        at.record.add_proposal(proposal.id, at.loaded.name, proposal.to_dict())
        found = at.payloads.expectation(payload)
        assert found.cuts == tuple(payload.raw("cuts").tolist())
        if restores:
            assert found.ratio is None
        else:
            np.testing.assert_allclose(found.ratio, predicted / p)

    asyncio.run(scene())


def test_what_was_rejected_predicts_nothing() -> None:
    async def scene() -> None:
        at = Scene()
        proposal = at.proposal(accepted=False, restores=False)
        payload = at.payloads.keep(at.nominal.replace(cuts=at.nominal.raw("cuts") + 1), "test")
        at.record.add_proposal(proposal.id, at.loaded.name, proposal.to_dict())
        assert at.payloads.expectation(payload).ratio is None

    asyncio.run(scene())
