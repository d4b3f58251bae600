"""Who asks, and whether they may: host, token, role, and where the request comes from."""

import asyncio
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from urllib.parse import urlsplit

import structlog
from fastapi import HTTPException, Request

from monitor.config import ConfigError, HttpSettings
from monitor.daemon.http import tokens
from monitor.daemon.http.tokens import OPERATOR, Role, Token, TokenError

log = structlog.get_logger()

ANONYMOUS = "anonymous"
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")
"""Headers that a request has which comes through a proxy."""


@dataclass(frozen=True)
class Caller:
    """`name` is that of the token, or `anonymous`."""

    name: str
    role: Role


class Access:
    """Decides about every request; rereads the file of tokens when it changes.

    A wrong token is refused, whatever a caller without one may do. That is said by ``[http] anonymous``, and
    only to callers on this host: not behind a proxy, and not where a header tells of one.
    Host is checked where only this host can connect, so that no page elsewhere can be named as it.

    Raises:
        ConfigError: the file of tokens cannot be used.
    """

    def __init__(self, settings: HttpSettings, operator: Token | None = None) -> None:
        self._settings = settings
        self._own = {} if operator is None else {OPERATOR: operator}
        self._names = LOCAL_NAMES | {name.lower() for name in settings.names}
        self._read: dict[str, Token] = {}
        self._seen: object = None
        self._verified: dict[str, tuple[Token, bytes]] = {}
        self._turn = asyncio.Lock()
        if settings.tokens is not None:
            try:
                self._reread(settings.tokens)
            except TokenError as error:
                raise ConfigError("http.tokens", [str(error)]) from None

    def check_host(self, request: Request) -> None:
        """Refuse a request that takes this host for another.

        Raises:
            HTTPException: 421.
        """
        if not self._settings.on_loopback or self._settings.behind_proxy:
            return
        host = request.headers.get("host", "")
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        if name.lower() not in self._names:
            known = ", ".join(sorted(self._names))
            raise HTTPException(421, f"this is not {host[:200]!r}, but {known}; [http] names may hold more")

    def check_role(self, caller: Caller | None, role: Role) -> None:
        """Refuse a caller who may not do what a role may.

        Raises:
            HTTPException: 401 for a caller without a token, 403 for one with it.
        """
        if caller is not None and caller.role.includes(role):
            return
        if caller is None or caller.name == ANONYMOUS:
            raise _unauthorized(f"this needs the token of a {role}: send it as Authorization: Bearer driftd_…")
        raise HTTPException(403, f"this needs the role {role}; {caller.name} has the role {caller.role}")

    async def caller(self, request: Request) -> Caller | None:
        """Whose token the request has; without one `anonymous` on this host, else None.

        Raises:
            HTTPException: 401 for a token that is wrong or has expired.
        """
        given = request.headers.get("authorization")
        if given is None:
            anonymous = self._settings.anonymous
            return Caller(ANONYMOUS, Role(anonymous)) if anonymous != "none" and self._on_this_host(request) else None
        scheme, _, text = given.partition(" ")
        if scheme.lower() != "bearer":
            raise _unauthorized("expected Authorization: Bearer driftd_…")
        name = tokens.owner(text.strip())
        token = self._known().get(name)
        if token is None or not await self._is(name, token, text.strip()):
            raise _unauthorized("no such token: `driftd token list` says whose there are", "invalid_token")
        if token.expired:
            raise _unauthorized(f"the token of {name} expired on {token.expires}: ask for a new one", "invalid_token")
        return Caller(name, token.role)

    def check_site(self, request: Request) -> None:
        """Refuse what a page of another site sends.

        Raises:
            HTTPException: 403.
        """
        origin = request.headers.get("origin")
        if origin is None:
            return
        try:
            parts = urlsplit(origin)
        except ValueError:
            parts = urlsplit("")
        own = parts.netloc.lower() == request.headers.get("host", "").lower()
        if not parts.netloc or not (own or (parts.hostname or "") in self._settings.names):
            raise HTTPException(403, f"commands are not taken from pages of {origin[:200]!r}")

    def peer(self, request: Request) -> str:
        """The address that connected, and, behind a proxy, what that says of whom it speaks for."""
        address = request.client.host if request.client else "?"
        told = request.headers.get("x-forwarded-for") if self._settings.behind_proxy else None
        return f"{address} for {told[-100:]}" if told else address

    def _on_this_host(self, request: Request) -> bool:
        if self._settings.behind_proxy or request.client is None or any(name in request.headers for name in FORWARDED):
            return False
        address = ip_address(request.client.host)
        inner = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return (inner or address).is_loopback

    async def _is(self, name: str, token: Token, text: str) -> bool:
        """One scrypt at a time, and none for a token that was right before."""
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
        if self._remembers(name, token, digest):
            return True
        async with self._turn:
            if self._remembers(name, token, digest):
                return True
            right = await asyncio.to_thread(token.matches, text)
        if right:
            self._verified[name] = token, digest
        return right

    def _remembers(self, name: str, token: Token, digest: bytes) -> bool:
        known = self._verified.get(name)
        return known is not None and known[0] == token and hmac.compare_digest(known[1], digest)

    def _known(self) -> Mapping[str, Token]:
        """All tokens now; none of a file that cannot be used any more."""
        path = self._settings.tokens
        if path is not None:
            try:
                self._reread(path)
            except TokenError as error:
                if self._read:
                    log.error("tokens not read: none of them is taken", why=str(error))
                self._read = {}
        return self._read | self._own

    def _reread(self, path: Path) -> None:
        try:
            now = path.stat()
            mark = (now.st_mtime_ns, now.st_ctime_ns, now.st_size, now.st_ino, now.st_mode)
        except OSError:
            mark = None
        if mark is None or mark != self._seen:
            self._seen = mark
            self._read = tokens.read(path)


def _unauthorized(text: str, error: str = "") -> HTTPException:
    challenge = f'Bearer error="{error}"' if error else "Bearer"
    return HTTPException(401, text, headers={"WWW-Authenticate": challenge})
