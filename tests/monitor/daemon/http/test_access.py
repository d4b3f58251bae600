"""Who a caller is: the token, the host that it comes from, and the name that it asks for."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from fastapi import HTTPException, Request

from monitor.config import ConfigError, HttpSettings
from monitor.daemon.http import tokens
from monitor.daemon.http.access import Access, Caller
from monitor.daemon.http.tokens import Role, TokenError


def request(peer: str = "127.0.0.1", **headers: str) -> Request:
    """``headers`` with _ for -."""
    given = {"host": "localhost:8765"} | {name.replace("_", "-"): value for name, value in headers.items()}
    raw = [(name.encode(), value.encode("latin-1")) for name, value in given.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": raw, "client": (peer, 1)})


def caller(access: Access, *args: Any, **headers: str) -> Caller | None:
    return asyncio.run(access.caller(request(*args, **headers)))


def refused(access: Access, *args: Any, **headers: str) -> int:
    with pytest.raises(HTTPException) as error:
        caller(access, *args, **headers)
    return error.value.status_code


@pytest.mark.parametrize(
    ("settings", "peer", "headers", "known"),
    [
        ({}, "127.0.0.1", {}, True),
        ({}, "127.8.0.9", {}, True),
        ({}, "::1", {}, True),
        ({}, "::ffff:127.0.0.1", {}, True),
        ({}, "192.0.2.1", {}, False),
        ({}, "::ffff:192.0.2.1", {}, False),
        ({}, "127.0.0.1", {"x_forwarded_for": "192.0.2.1"}, False),
        ({"behind_proxy": True}, "127.0.0.1", {}, False),
        ({"anonymous": "none"}, "127.0.0.1", {}, False),
    ],
)
def test_only_who_is_on_this_host_may_anything_without_a_token(
    settings: dict[str, Any], peer: str, headers: dict[str, str], known: bool
) -> None:
    assert caller(Access(HttpSettings(**settings)), peer, **headers) == (
        Caller("anonymous", Role.VIEWER) if known else None
    )


@pytest.mark.parametrize(
    ("host", "settings", "good"),
    [
        ("localhost", {}, True),
        ("127.0.0.1:8765", {}, True),
        ("[::1]:8765", {}, True),
        ("LOCALHOST:1", {}, True),
        ("evil.example", {}, False),
        ("localhost.evil.example", {}, False),
        ("127.0.0.1.evil.example:8765", {}, False),
        ("", {}, False),
        ("gt.cern.ch", {"names": ("gt.cern.ch",)}, True),
        ("evil.example", {"behind_proxy": True}, True),
    ],
)
def test_where_only_this_host_can_connect_it_is_asked_for_by_its_name(
    host: str, settings: dict[str, Any], good: bool
) -> None:
    access = Access(HttpSettings(**settings))
    if good:
        access.check_host(request(host=host))
        return
    with pytest.raises(HTTPException) as error:
        access.check_host(request(host=host))
    assert error.value.status_code == 421


def test_behind_a_proxy_the_audit_is_told_for_whom_it_speaks() -> None:
    far = request(x_forwarded_for="192.0.2.7")
    assert Access(HttpSettings(behind_proxy=True)).peer(far) == "127.0.0.1 for 192.0.2.7"
    assert Access(HttpSettings()).peer(far) == "127.0.0.1"


def test_a_token_is_hashed_once_and_known_from_then_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own hash is forgotten with the token: one of the same name that is made anew is another."""
    path = tmp_path / "tokens.toml"
    text, kept = tokens.issue("ada", Role.EXPERT)
    tokens.write(path, {"ada": kept})
    access = Access(HttpSettings(tokens=path))
    hashed = []
    whole = tokens._hash
    monkeypatch.setattr(tokens, "_hash", lambda *given: hashed.append(given) or whole(*given))
    for _ in range(3):
        assert caller(access, authorization=f"bearer {text}") == Caller("ada", Role.EXPERT)
    assert len(hashed) == 1
    assert refused(access, authorization=f"Bearer {text}x") == 401
    assert refused(access, authorization="Bearer driftd_bob_x") == 401
    assert len(hashed) == 2
    tokens.write(path, {"ada": tokens.issue("ada", Role.VIEWER)[1]})
    assert refused(access, authorization=f"Bearer {text}") == 401


def test_a_file_of_tokens_that_cannot_be_trusted_lets_nobody_in(tmp_path: Path) -> None:
    path = tmp_path / "tokens.toml"
    text, kept = tokens.issue("ada", Role.EXPERT)
    tokens.write(path, {"ada": kept})
    own, mine = tokens.issue("operator", Role.EXPERT)
    access = Access(HttpSettings(tokens=path), mine)
    path.chmod(0o620)
    assert refused(access, authorization=f"Bearer {text}") == 401
    assert caller(access, authorization=f"Bearer {own}") == Caller("operator", Role.EXPERT)
    with pytest.raises(ConfigError, match="chmod 600"):
        Access(HttpSettings(tokens=path))
    path.unlink()
    assert refused(access, authorization=f"Bearer {text}") == 401


@pytest.mark.parametrize(
    "text",
    ["ada", "[ada]", '[ada]\nrole = "king"', "[operator]\nrole = 'expert'", "[Ada]\nrole = 'expert'", "\0"],
)
def test_a_file_that_holds_no_tokens_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokens.toml"
    known = f"\nsalt = '{'ab' * 16}'\nhash = '{'ab' * 32}'" if "expert" in text else ""
    tokens.private(path, text + known)
    with pytest.raises(TokenError, match=r"tokens\.toml"):
        tokens.read(path)


@pytest.mark.parametrize("name", ["", "Ada", "a_b", "-a", "a" * 33, "a b", "../a"])
def test_a_name_that_would_not_be_told_from_the_token_is_none(name: str) -> None:
    with pytest.raises(TokenError, match="is no name"):
        tokens.issue(name, Role.VIEWER)


def test_a_private_file_is_private_from_its_first_moment(tmp_path: Path) -> None:
    path = tmp_path / "operator.token"
    path.write_text("old")
    path.chmod(0o644)
    before = os.umask(0)
    try:
        tokens.private(path, "new")
    finally:
        os.umask(before)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o600)
    assert list(tmp_path.iterdir()) == [path]
