import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from firmware.errors import PackageError
from firmware.process import Remote
from firmware.sim.world.detector import Response
from firmware.tools.compiler import compiler
from recalib.errors import RecalibError
from recalib.proposal import Judgement, Proposal, Step
from recalib.request import JudgeRequest
from recalib.worker import FitWorker
from tests.recalib.conftest import Lab

JETS_DOWN = Response(jet_energy_scale=-0.08)
DEADLINE = 120.0


@pytest.fixture(scope="module")
def remote(lab: Lab) -> Iterator[Remote]:
    worker = Remote(FitWorker, lab.path, name="fit")
    yield worker
    worker.close()


def test_proposals_and_judgements_cross_the_process_boundary(lab: Lab, remote: Remote) -> None:
    steps: list[Step] = []
    request = lab.request(lab.sample(response=JETS_DOWN), knobs=("input_scale", "threshold"))
    proposal = remote.call("propose", request, deadline=DEADLINE, on_progress=steps.append)
    assert isinstance(proposal, Proposal)
    assert proposal.id == lab.engine.propose(request).id
    assert steps[0].stage == "fitting"
    assert any(re.fullmatch(r"input_scale: step 1, KL 0\.\d+", step.text) for step in steps)
    assert steps[-1] == Step("gating", str(proposal.knob))
    target = lab.target()
    asked = JudgeRequest(lab.nominal.words, proposal.words, request.sample, target.p, target.m, target.rates)
    judgement = remote.call("judge", asked, deadline=DEADLINE)
    assert isinstance(judgement, Judgement)
    assert not judgement.harmful


def test_without_a_compiler_it_says_that_the_emulator_stands_alone(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTD_CXX", "none")
    assert "no C++ compiler" in FitWorker(lab.path).warm_up(tmp_path)


def test_with_a_compiler_every_proposal_is_held_against_the_compiled_datapath(lab: Lab, tmp_path: Path) -> None:
    if compiler() is None:
        pytest.skip("no C++ compiler")
    worker = FitWorker(lab.path)
    assert "equal on 2048 golden events" in worker.warm_up(tmp_path)
    request = lab.request(lab.sample(response=JETS_DOWN), knobs=("input_scale",))
    gates = {gate.name: gate for gate in worker.propose(request).gates}
    assert gates["datapath"].passed


def test_golden_codes_that_are_not_reproduced_are_refused(lab: Lab, tmp_path: Path) -> None:
    codes = lab.package.golden_codes.copy()
    codes[3] += 1
    path = tmp_path / "wrong.driftd"
    replace(lab.package, golden_codes=codes).save(path)
    with pytest.raises(RecalibError, match="1 of 2048 golden codes"):
        FitWorker(path).warm_up(tmp_path)


def test_a_damaged_package_is_refused_at_start(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "damaged.driftd"
    data = np.frombuffer(lab.path.read_bytes(), np.uint8).copy()
    data[len(data) // 2] ^= 1
    path.write_bytes(data.tobytes())
    with pytest.raises(PackageError):
        FitWorker(path)
