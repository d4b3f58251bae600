"""The HTTP client of the command line, against a real server."""

import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from monitor.client import HttpClient, NoAnswer
from tests.support.http_stub import http_stub


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that nobody else signed, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    crt, key = folder / "daemon.crt", folder / "daemon.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
         "-subj", "/CN=driftd", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", crt],
        check=True, capture_output=True,
    )  # fmt: skip
    return crt, key


def test_a_token_is_the_bearers_and_a_body_is_json() -> None:
    with http_stub() as stub:
        stub.replies = {"GET /a": (200, {"x": 1}), "POST /b": (202, [])}
        client = HttpClient(stub.url, token="secret")
        assert client.get("/a").json() == {"x": 1}
        assert client.post("/b", {"reason": "why"}).good
    (got, headers, _), (posted, _, body) = stub.asked
    assert (got, posted, body) == ("GET /a", "POST /b", {"reason": "why"})
    assert headers["Authorization"] == "Bearer secret"
    assert headers["User-Agent"] == "driftd"


def test_without_a_token_none_is_sent() -> None:
    with http_stub() as stub:
        HttpClient(stub.url).get("/a")
    assert "Authorization" not in stub.asked[0][1]


def test_a_refusal_is_an_answer() -> None:
    with http_stub() as stub:
        stub.replies = {"GET /a": (409, {"error": "frozen"})}
        answer = HttpClient(stub.url).get("/a")
    assert (answer.good, answer.status, answer.json()) == (False, 409, {"error": "frozen"})


def test_a_redirect_is_not_followed_so_that_the_token_reaches_no_other_host() -> None:
    with http_stub() as other, http_stub() as stub:
        stub.headers = {"Location": f"{other.url}/a"}
        stub.replies = {"GET /a": (302, {})}
        assert HttpClient(stub.url, token="secret").get("/a").status == 302
    assert other.asked == []


def test_a_proxy_is_asked_where_the_environment_names_one_and_only_if_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    with http_stub() as proxy, http_stub() as stub:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        HttpClient(stub.url, proxies=False).get("/a")
        assert (len(stub.asked), len(proxy.asked)) == (1, 0)
        HttpClient(stub.url).get("/a")
        assert (len(stub.asked), len(proxy.asked)) == (1, 1)


def test_nobody_there_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(NoAnswer, match="Connection refused"):
        HttpClient(f"http://127.0.0.1:{port}").get("/a")


def test_silence_is_no_answer_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = HttpClient(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.2)
        with pytest.raises(NoAnswer, match="timed out"):
            client.get("/a")


def test_an_address_of_another_kind_is_no_answer() -> None:
    with pytest.raises(NoAnswer, match="expected http://host:port"):
        HttpClient("ftp://127.0.0.1:1").get("/a")


def test_a_certificate_counts_where_it_is_trusted_alone(certificate: tuple[Path, Path]) -> None:
    crt, key = certificate
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(crt, key)
    with http_stub(served) as stub:
        stub.replies = {"GET /a": (200, 1)}
        trusting = HttpClient(stub.url, tls=ssl.create_default_context(cafile=crt))
        assert trusting.get("/a").json() == 1
        with pytest.raises(NoAnswer, match="CERTIFICATE_VERIFY_FAILED"):
            HttpClient(stub.url).get("/a")
        with pytest.raises(NoAnswer, match="CERTIFICATE_VERIFY_FAILED"):
            HttpClient(stub.url.replace("127.0.0.1", "localhost"), tls=ssl.create_default_context(cafile=crt)).get("/a")
