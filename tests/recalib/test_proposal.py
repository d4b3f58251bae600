import json
from dataclasses import replace

import numpy as np
import pytest

from recalib.knobs.names import KnobName, Turned
from recalib.proposal import Candidate, Gate, Judgement, Proposal


@pytest.fixture
def proposal() -> Proposal:
    return Proposal(
        stream="axol1tl",
        knob=Turned(KnobName.INPUT_SCALE, with_cuts=True),
        base_id="a" * 64,
        payload_id="b" * 64,
        words=np.array([0, 1, 0xFFFFFFFF], np.uint32),
        accepted=False,
        reason="rate 0",
        restores=True,
        p_ref=np.array([0.25, 0.75]),
        predicted=np.array([0.3, 0.7]),
        events=100,
        n_eff=81.5,
        kl_before=0.1,
        kl_after=float("nan"),
        kl_floor=0.01,
        rates_before=(0.1,),
        rates_after=(0.2,),
        rates_target=(0.2,),
        rate_errors=(float("inf"),),
        retention=(0.9,),
        move=0.08,
        beta=100.0,
        delta=0.5,
        attention="84 % in one cell",
        gates=(Gate("rate 0", 0.2, 0.1, False, "cut 0: off"), Gate("signal", 0.9, 1.0, False, "lost", advice=True)),
        candidates=(
            Candidate(Turned(KnobName.LUT), 0.1, 0.01, (0.2,), 1.0, 0.0, {"lut": 4.0}, 0.0, "not needed", {"lut": 0.5}),
        ),
        passes=3.0,
        seconds=1.5,
        seen=np.array([0.4, 0.6]),
        squares=np.array([0.001, float("nan")]),
        edges=np.array([0, 7, 64]),
        m=1000.0,
        cuts_before=(7,),
        cuts_after=(9,),
    )


def test_a_proposal_comes_back_from_its_json(proposal: Proposal) -> None:
    text = json.dumps(proposal.to_dict(), allow_nan=False)
    assert json.loads(text)["knob"] == "input_scale+threshold"
    assert json.loads(text)["candidates"][0]["knob"] == "lut"
    back = Proposal.from_dict(json.loads(text))
    assert back.knob == proposal.knob
    assert json.dumps(back.to_dict()) == text
    assert back.id == json.loads(text)["id"] == proposal.id
    np.testing.assert_array_equal(back.words, proposal.words)
    assert back.words.dtype == np.uint32
    assert back.gates == proposal.gates
    assert back.attention == proposal.attention
    assert back.candidates == proposal.candidates
    assert np.isnan(back.kl_after)
    assert (back.cuts_before, back.cuts_after, back.m) == ((7,), (9,), 1000.0)
    for name in ("seen", "squares", "edges"):
        np.testing.assert_array_equal(getattr(back, name), getattr(proposal, name))
    assert back.edges.dtype == np.int64


def test_a_proposal_that_was_stored_before_there_was_attention_asks_for_none(proposal: Proposal) -> None:
    data = proposal.to_dict()
    del data["attention"]
    assert Proposal.from_dict(data).attention == ""


def test_a_proposal_that_was_stored_before_it_kept_its_distributions_has_none(proposal: Proposal) -> None:
    data = proposal.to_dict()
    for name in ("seen", "squares", "edges", "m", "cuts_before", "cuts_after"):
        del data[name]
    assert not Proposal.from_dict(data).seen.size


def test_its_name_is_its_content_and_not_the_time_it_took(proposal: Proposal) -> None:
    assert replace(proposal, seconds=9.0).id == proposal.id
    assert replace(proposal, reason="rate 1").id != proposal.id
    assert replace(proposal, attention="").id != proposal.id
    assert replace(proposal, words=np.array([0, 1, 2], np.uint32)).id != proposal.id


def test_a_judgement_is_json_too() -> None:
    judgement = Judgement(0.1, 0.01, 0.005, (0.1,), (0.2,), (0.2,), False, "better")
    assert json.loads(json.dumps(judgement.to_dict()))["harmful"] is False
