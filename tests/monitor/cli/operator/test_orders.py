"""Commands that the loop carries out at once."""

import pytest
from click.testing import CliRunner, Result

from monitor.cli.main import main
from monitor.exits import EX_REFUSED
from tests.support.http_stub import http_stub

WAITING = {"boards": {}, "streams": {"cicada": {"proposal": ""}, "axol1tl": {"proposal": "abcdef0123456789"}}}


def driftd(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--url", url, "--reason", "a reason"])


@pytest.mark.parametrize(
    ("arguments", "body"),
    [
        (("freeze", "axol1tl"), {}),
        (("unfreeze", "axol1tl"), {}),
        (("rollback", "axol1tl"), {"to": "nominal"}),
        (("rollback", "axol1tl", "--to", "abcd"), {"to": "abcd"}),
    ],
)
def test_an_order_says_where_the_stream_stands_then(arguments: tuple[str, ...], body: dict[str, str]) -> None:
    asked = f"POST /api/v1/streams/axol1tl/{arguments[0]}"
    with http_stub() as stub:
        stub.replies = {asked: (200, {"phase": "frozen"})}
        done = driftd(stub.url, *arguments)
    assert done.output == "axol1tl: frozen\n"
    assert [(path, sent) for path, _, sent in stub.asked] == [(asked, body | {"reason": "a reason"})]


@pytest.mark.parametrize("word", ["approve", "reject"])
def test_a_decision_goes_to_the_stream_whose_proposal_begins_so(word: str) -> None:
    asked = f"POST /api/v1/streams/axol1tl/{word}"
    with http_stub() as stub:
        stub.replies = {"GET /api/v1/status": (200, WAITING), asked: (200, {"phase": "staging"})}
        done = driftd(stub.url, word, "abcd")
    assert done.output == "axol1tl: staging\n"
    assert stub.asked[-1][2] == {"proposal": "abcd", "reason": "a reason"}


@pytest.mark.parametrize("name", ["abc", "ffff", ""])
def test_a_decision_on_what_does_not_wait_says_what_does(name: str) -> None:
    with http_stub() as stub:
        stub.replies = {"GET /api/v1/status": (200, WAITING)}
        done = driftd(stub.url, "approve", name)
    assert done.exit_code == EX_REFUSED
    assert "waiting: abcdef012345" in done.output


def test_a_name_that_is_none_stays_one_part_of_the_path() -> None:
    with http_stub() as stub:
        driftd(stub.url, "freeze", "a b/../c")
    assert stub.asked[0][0] == "POST /api/v1/streams/a%20b%2F..%2Fc/freeze"
