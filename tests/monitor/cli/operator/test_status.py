"""`driftd status`: what a shifter reads."""

import json

from click.testing import CliRunner

from monitor.cli.main import main
from tests.support.http_stub import http_stub

STREAM = {
    "phase": "watching", "mode": "auto", "reason": "", "generation": 2, "payload": "0123456789abcdef",
    "datapath": "compiled", "proposal": "fedcba9876543210",
    "last": {"ls": 7, "run": 1, "text": "as expected", "details": "KL 0.001"},
}  # fmt: skip
FOUND = {
    "boards": {
        "gt": {"up": True, "uri": "ipbusudp-2.0://a", "error": ""},
        "spare": {"up": False, "uri": "axi:b", "error": "no answer"},
    },
    "streams": {"axol1tl": STREAM},
}


def test_boards_streams_and_what_waits_are_said() -> None:
    with http_stub() as stub:
        stub.replies = {"GET /api/v1/status": (200, FOUND)}
        done = CliRunner().invoke(main, ["status", "--url", stub.url])
        as_json = CliRunner().invoke(main, ["status", "--url", stub.url, "--json"])
    assert done.output.splitlines() == [
        "board gt (ipbusudp-2.0://a) answers",
        "board spare (axi:b) does not answer: no answer",
        "axol1tl: watching (auto), nothing to say",
        "  lumi section 7 of run 1: as expected",
        "    KL 0.001",
        "  generation 2, payload 0123456789ab; compiled",
        "  proposal fedcba987654 waits for approval",
    ]
    assert json.loads(as_json.output) == FOUND
