"""Bearer tokens: who they are of and what they allow. Of a token only its scrypt hash is kept."""

import hashlib
import hmac
import os
import re
import secrets
import stat
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from monitor.daemon.errors import DaemonError

OPERATOR = "operator"
"""Whose token is the one that the daemon writes for its own user."""
NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
RANDOM_BYTES = 32
COST, BLOCK, LANES = 2**14, 8, 1
"""Of scrypt: 16 MiB, some 50 ms."""
OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH

Hex = Annotated[str, Field(pattern=r"^([0-9a-f]{2}){16,64}$")]


class Role(StrEnum):
    """What a caller may do; each may do what those before it may.

    A viewer looks; a shifter freezes, unfreezes and asks for a fit; an expert decides what is written.
    """

    VIEWER = "viewer"
    SHIFTER = "shifter"
    EXPERT = "expert"

    def includes(self, other: "Role") -> bool:
        """Whether this role may do all that the other may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


class TokenError(DaemonError):
    """The file of tokens cannot be used, or not be changed so."""


class Token(BaseModel):
    """What is kept of a token."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Role
    salt: Hex
    hash: Hex
    expires: AwareDatetime | None = None

    def matches(self, text: str) -> bool:
        """Whether this is the token; takes scrypt's time."""
        return hmac.compare_digest(_hash(text, bytes.fromhex(self.salt)), bytes.fromhex(self.hash))

    @property
    def expired(self) -> bool:
        """Whether its time is over; a token without `expires` stays good."""
        return self.expires is not None and self.expires <= datetime.now(UTC)


def issue(name: str, role: Role, days: float | None = None) -> tuple[str, Token]:
    """A new token, `driftd_<name>_<random>`, and what is kept of it.

    Raises:
        TokenError: the name is none.
    """
    if not NAME.fullmatch(name):
        raise TokenError(f"{name!r} is no name: expected up to 32 of a-z, 0-9 and -, a letter first")
    text = f"driftd_{name}_{secrets.token_urlsafe(RANDOM_BYTES)}"
    salt = secrets.token_bytes(16)
    expires = None if days is None else datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)
    return text, Token(role=role, salt=salt.hex(), hash=_hash(text, salt).hex(), expires=expires)


def owner(text: str) -> str:
    """Whose token it says that it is."""
    return text.partition("_")[2].partition("_")[0]


def read(path: Path) -> dict[str, Token]:
    """The tokens of a file, by name.

    Raises:
        TokenError: it is missing, is no such file, or others than its owner may write it.
    """
    try:
        if stat.S_IMODE(path.stat().st_mode) & OTHERS_MAY_WRITE:
            raise TokenError(f"{path} may be written by others than its owner: chmod 600 it")
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        found = {name: Token.model_validate(entry) for name, entry in data.items()}
    except OSError as error:
        raise TokenError(f"{path} cannot be read: {error.strerror}; `driftd token add` makes it") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError) as error:
        raise TokenError(f"{path} holds no tokens: {error}") from None
    for name in found:
        if name == OPERATOR or not NAME.fullmatch(name):
            raise TokenError(f"{path}: {name!r} cannot be the name of a token")
    return found


def write(path: Path, tokens: Mapping[str, Token]) -> None:
    """Put a file of tokens in the place of the old one, in one step; only its owner may read it."""
    private(path, "".join(_section(name, token) for name, token in tokens.items()))


def private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, in one step."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _section(name: str, token: Token) -> str:
    expires = f"expires = {token.expires.isoformat()}\n" if token.expires else ""
    return f'[{name}]\nrole = "{token.role}"\nsalt = "{token.salt}"\nhash = "{token.hash}"\n{expires}\n'


def _hash(text: str, salt: bytes) -> bytes:
    return hashlib.scrypt(text.encode("utf-8", "surrogateescape"), salt=salt, n=COST, r=BLOCK, p=LANES, dklen=32)
