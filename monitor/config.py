"""Configuration: one TOML file, every fault in it named at once."""

from __future__ import annotations

import tomllib
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from firmware.board.drivers import driver
from firmware.errors import BoardError
from monitor.loop.states import Mode, Rules
from monitor.terms import STATE_DIR, Hold
from monitor.watch.settings import DetectSettings, Fraction, IngestSettings, Positive, Section
from recalib.knobs.names import DEFAULT_KNOBS, KnobName


class ConfigError(Exception):
    """The configuration cannot be used; ``faults`` names every fault."""

    def __init__(self, where: object, faults: list[str]) -> None:
        self.faults = faults
        lines = "".join(f"\n  {fault}" for fault in faults)
        super().__init__(f"{where}: {len(faults)} fault{'s' * (len(faults) != 1)}{lines}")


def _endpoint(address: str) -> str:
    parts = urlsplit(address)
    if parts.scheme not in {"tcp", "ipc", "inproc"} or not (parts.netloc or parts.path):
        raise ValueError(f"{address!r} is not a ZeroMQ address: expected tcp://host:port or ipc://path")
    return address


def _board_uri(uri: str) -> str:
    try:
        driver(uri)
    except BoardError as error:
        raise ValueError(str(error)) from None
    return uri


def _web_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{url!r} is not the address of a web server: expected http://host:port")
    return url


def _one_or_several(names: Any) -> Any:
    return [names] if isinstance(names, str) else names


def _different(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError(f"names a board twice: {', '.join(names)}")
    return names


Endpoint = Annotated[str, AfterValidator(_endpoint)]
BoardUri = Annotated[str, AfterValidator(_board_uri)]
WebUrl = Annotated[str, AfterValidator(_web_url)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]
Boards = Annotated[tuple[Name, ...], Field(min_length=1), BeforeValidator(_one_or_several), AfterValidator(_different)]


class HttpSettings(Section):
    """Who can reach the interface, and who may do what there.

    ``tokens``: the file that `driftd token` writes. ``anonymous``: the role of a caller on this host without a token.
    ``names``: of this host, beside localhost, that a request may ask for. ``certificate`` and ``key``: PEM files.
    ``behind_proxy``: something else ends the TLS, on this host or in this pod, and passes Host on; what it sends
    needs a token.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8765
    names: tuple[str, ...] = ()
    tokens: Path | None = None
    anonymous: Literal["none", "viewer", "shifter", "expert"] = "viewer"
    certificate: Path | None = None
    key: Path | None = None
    behind_proxy: bool = False

    @property
    def on_loopback(self) -> bool:
        """Whether only this host can connect."""
        try:
            return self.host == "localhost" or ip_address(self.host).is_loopback
        except ValueError:
            return False

    @model_validator(mode="after")
    def _private(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together: give both, or neither")
        if not (self.on_loopback or self.certificate or self.behind_proxy):
            raise ValueError(
                f"host {self.host!r} is reached from elsewhere, and tokens would go there in clear text: give "
                "certificate and key, or set behind_proxy where something else ends the TLS"
            )
        return self


class RecalibrateSettings(Section):
    """Which knobs the fit may turn and how far; see ``recalib`` for what each number does."""

    knobs: Annotated[tuple[KnobName, ...], Field(min_length=1)] = DEFAULT_KNOBS
    min_events: Positive = 60_000
    min_effective: Positive = 5_000
    min_accepts: Positive = 400
    memory_events: Positive = 200_000
    max_move: Fraction = 0.25
    steer_band: Fraction = 0.02
    max_lipschitz: Annotated[float, Field(gt=1)] = 1.6
    min_retention: Annotated[float, Field(ge=0, le=1)] = 0.3
    deadline_s: Annotated[float, Field(gt=0)] = 120.0
    seed: int = 1


class PushSettings(Section):
    """``require_playback``: refuse boards that cannot play golden vectors back before a payload is armed."""

    preview_prescale: Annotated[int, Field(ge=0)] = 4
    preview_accepts: Positive = 1000
    arm_margin_ls: Annotated[int, Field(ge=2)] = 2
    require_playback: bool = True


class WaitSettings(Section):
    """Lengths of the loop's waits, in lumi sections."""

    warm_ls: Positive = Rules.warm_ls
    collect_max_ls: Positive = Rules.collect_max_ls
    approval_max_ls: Positive = Rules.approval_max_ls
    preview_max_ls: Positive = Rules.preview_max_ls
    latch_max_ls: Positive = Rules.latch_max_ls
    confirm_ls: Positive = Rules.confirm_ls
    confirm_max_ls: Positive = Rules.confirm_max_ls
    cooldown_ls: Positive = Rules.cooldown_ls
    backoff_ls: Positive = Rules.backoff_ls
    backoff_max_ls: Positive = Rules.backoff_max_ls

    def rules(self) -> Rules:
        """The same numbers, as the loop takes them."""
        return Rules(**self.model_dump())


class BoardSettings(Section):
    """Where a board's registers are, and how long it may take to answer.

    ``deadline_s``: seconds after which it counts as unreachable. ``address_table``: its own, in place of the package's.
    """

    uri: BoardUri
    deadline_s: Annotated[float, Field(gt=0, le=60)] = 2.0
    address_table: Path | None = None


class StreamSettings(Section):
    """``board``: one, or several that all get every payload; the scores are those of the first."""

    package: Path
    board: Boards
    addresses: Annotated[tuple[Endpoint, ...], Field(min_length=1)]
    pattern: Literal["pull", "sub"] = "pull"
    hold: Hold = "distribution"
    mode: Mode = Mode.AUTO
    detect: DetectSettings = DetectSettings()
    recalibrate: RecalibrateSettings = RecalibrateSettings()
    push: PushSettings = PushSettings()
    waits: WaitSettings = WaitSettings()


class GrafanaSettings(Section):
    """``datasource``: uid of the Prometheus there. The token comes from GRAFANA_TOKEN, else from ``token_file``."""

    url: WebUrl
    token_file: Path | None = None
    datasource: str = "prometheus"


class Config(Section):
    """The whole configuration; relative paths are relative to the file's folder."""

    state_dir: Path = Path(STATE_DIR)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    http: HttpSettings = HttpSettings()
    ingest: IngestSettings = IngestSettings()
    grafana: GrafanaSettings | None = None
    boards: Annotated[dict[Name, BoardSettings], Field(min_length=1)]
    streams: Annotated[dict[Name, StreamSettings], Field(min_length=1)]

    @model_validator(mode="after")
    def _boards_exist(self) -> Self:
        missing = [
            f"streams.{name}.board: no board {board!r}; there is {', '.join(self.boards)}"
            for name, stream in self.streams.items()
            for board in stream.board
            if board not in self.boards
        ]
        if missing:
            raise ValueError("; ".join(missing))
        return self


PATHS = frozenset({"state_dir", "package", "address_table", "token_file", "tokens", "certificate", "key"})


def _rooted(data: Any, folder: Path) -> Any:
    """Make the paths of a raw configuration absolute; anything malformed is left to the validation."""
    if not isinstance(data, dict):
        return data
    rooted = {
        key: str(folder / value) if key in PATHS and isinstance(value, str) else _rooted(value, folder)
        for key, value in data.items()
    }
    return rooted


def load(path: Path) -> Config:
    """Read and validate a configuration file.

    Raises:
        ConfigError: the file is missing, is not TOML, or has faults; all are named.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        hint = "; `driftd init` writes one to start from" if isinstance(error, FileNotFoundError) else ""
        raise ConfigError(path, [f"cannot be read: {error.strerror}{hint}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(path, [f"is not TOML: {error}"]) from None
    data.setdefault("state_dir", STATE_DIR)
    try:
        return Config.model_validate(_rooted(data, path.resolve().parent))
    except ValidationError as error:
        raise ConfigError(path, [_fault(item) for item in error.errors()]) from None


def _fault(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"] if part != "[key]")
    text = item["msg"].removeprefix("Value error, ")
    given = f" (given {item['input']!r})" if isinstance(item["input"], str | int | float | bool) else ""
    return f"{where}: {text}{given}" if where else text
