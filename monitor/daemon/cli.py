"""The command line: the daemon, the simulated board, the model, and the operator's commands."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import click
import httpx

from monitor.daemon import config as configuration
from monitor.daemon import cost_command, grafana_commands, log, model_commands, reference_commands, replay_commands

EX_USAGE = 64
EX_NO_STREAM = 66
EX_UNAVAILABLE = 69
EX_REFUSED = 75
EX_FAILED = 1

POLL_S = 0.3


class Client:
    """The daemon's HTTP interface, with its refusals turned into exit codes."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=10)

    def get(self, path: str) -> Any:
        return self._send("GET", path)

    def post(self, path: str, **body: Any) -> Any:
        return self._send("POST", path, json=body)

    def _send(self, method: str, path: str, **rest: Any) -> Any:
        try:
            response = self._http.request(method, path, **rest)
        except httpx.HTTPError as error:
            _exit(EX_UNAVAILABLE, f"no daemon at {self._http.base_url}: {error}")
        if response.is_success:
            return response.json()
        codes = {404: EX_NO_STREAM, 409: EX_REFUSED, 422: EX_USAGE, 400: EX_USAGE}
        try:
            text = response.json()["error"]
        except (ValueError, KeyError, TypeError):
            text = response.text[:200]
        _exit(codes.get(response.status_code, EX_FAILED), text)


def _exit(code: int, text: str) -> NoReturn:
    click.echo(f"driftd: {text}", err=True)
    sys.exit(code)


def _progress(text: str) -> None:
    """What goes on, beside the answer on the standard output."""
    click.echo(text, err=True)


def _drawn(seed: int | None) -> int:
    """The seed that was asked for, or another one each time."""
    return time.time_ns() % 2**32 if seed is None else seed


def _load(path: Path) -> configuration.Config:
    try:
        return configuration.load(path)
    except configuration.ConfigError as error:
        _exit(configuration.EX_CONFIG, str(error))


def _config_option(function: Any) -> Any:
    path = click.Path(dir_okay=False, path_type=Path)
    return click.option("--config", "config_path", type=path, default="config.toml", show_default=True)(function)


def _url_option(function: Any) -> Any:
    return click.option(
        "--url", envvar="DRIFTD_URL", default="http://127.0.0.1:8765", show_default=True, help="The daemon."
    )(function)


def _plot_option(function: Any) -> Any:
    path = click.Path(dir_okay=False, writable=True, path_type=Path)
    return click.option("--plot", type=path, help="Draw the proposal into this PNG, PDF or SVG, once it is there.")(
        function
    )


def _reason_option(function: Any) -> Any:
    return click.option("--reason", default="", help="Why; it is kept in the ledger.")(function)


@click.group()
@click.version_option(package_name="driftd")
def main() -> None:
    """Keep a machine-learned hardware trigger at its understood working point."""
    log.configure("error")


@main.command()
@_config_option
def run(config_path: Path) -> None:
    """Run the daemon until SIGTERM."""
    from monitor.daemon.service import run as run_service

    sys.exit(run_service(_load(config_path)))


@main.command()
@_config_option
def check(config_path: Path) -> None:
    """Validate the configuration and the model packages it names."""
    from monitor.daemon.service import load_streams

    config = _load(config_path)
    try:
        loaded = load_streams(config)
    except configuration.ConfigError as error:
        _exit(configuration.EX_CONFIG, str(error))
    for name, (package, reference) in loaded.items():
        click.echo(f"{name}: model {package.model.id[:12]}, reference of {reference.m:,.0f} events")


@main.command()
@_url_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def status(url: str, as_json: bool) -> None:
    """Say how every stream is doing."""
    found = Client(url).get("/api/v1/status")
    if as_json:
        click.echo(json.dumps(found))
        return
    for name, board in found["boards"].items():
        said = "answers" if board["up"] else f"does not answer: {board['error']}"
        click.echo(f"board {name} ({board['uri']}) {said}")
    for name, stream in found["streams"].items():
        last = stream["last"]
        click.echo(f"{name}: {stream['phase']} ({stream['mode']}), {stream['reason'] or 'nothing to say'}")
        if last:
            click.echo(f"  lumi section {last['ls']} of run {last['run']}: {last['text']}")
            if last["details"]:
                click.echo(f"    {last['details']}")
        payload = stream["payload"][:12] or "unknown"
        click.echo(f"  generation {stream['generation']}, payload {payload}; {stream['datapath']}")
        if stream["proposal"]:
            click.echo(f"  proposal {stream['proposal'][:12]} waits for approval")


@main.command()
@click.argument("stream")
@click.option("--dry-run", is_flag=True, help="Fit and judge, but write nothing.")
@click.option("--wait", is_flag=True, help="Wait for the end; exit 0 only if it was confirmed.")
@_plot_option
@_reason_option
@_url_option
def recalibrate(stream: str, dry_run: bool, wait: bool, plot: Path | None, reason: str, url: str) -> None:
    """Collect events and re-calibrate STREAM now."""
    client = Client(url)
    before = client.get(f"/api/v1/streams/{stream}")
    known = _newest(client, stream)
    client.post(f"/api/v1/streams/{stream}/recalibrate", dry_run=dry_run, reason=reason)
    if not (wait or plot):
        click.echo(f"{stream}: collecting events")
        return
    said = ""
    while True:
        time.sleep(POLL_S)
        now = client.get(f"/api/v1/streams/{stream}")
        if now["phase"] != said:
            said = now["phase"]
            click.echo(f"{stream}: {said}")
        if said in ("watching", "awaiting_approval", "rolled_back", "frozen", "fault"):
            break
    click.echo(now["reason"])
    proposal = _newest(client, stream)
    if proposal == known:
        proposal = None
    if proposal is not None:
        _show(proposal, plot)
    elif plot:
        click.echo(f"driftd: no proposal was made, {plot} is not written", err=True)
    if dry_run:
        sys.exit(0 if proposal is not None and proposal["accepted"] else EX_FAILED)
    done = said == "watching" and now["generation"] > before["generation"]
    sys.exit(0 if done or said == "awaiting_approval" else EX_FAILED)


def _newest(client: Client, stream: str) -> dict[str, Any] | None:
    found: list[dict[str, Any]] = client.get(f"/api/v1/streams/{stream}/proposals")
    return found[0] if found else None


def _show(data: dict[str, Any], plot: Path | None, as_json: bool = False) -> None:
    """Print a proposal, and draw it if that is wanted."""
    from monitor.daemon.proposal_plot import proposal_figure
    from monitor.daemon.proposal_rows import lines
    from recalib.proposal import Proposal

    proposal = Proposal.from_dict(data)
    for line in [json.dumps(data)] if as_json else lines(proposal):
        click.echo(line)
    if plot is None:
        return
    try:
        proposal_figure(plot, proposal)
    except (ValueError, OSError) as error:
        _exit(EX_FAILED, f"no plot: {error}")
    click.echo(f"plot: {plot}", err=True)


@main.group()
def proposal() -> None:
    """Look at what the engine proposed."""


@proposal.command()
@click.argument("name")
@_plot_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object, as it is stored.")
@_url_option
def show(name: str, plot: Path | None, as_json: bool, url: str) -> None:
    """Print the proposal NAME: 4 characters of its name or more, or a file that --json wrote."""
    _show(_read(Path(name)) if Path(name).is_file() else _stored(Client(url), name), plot, as_json)


def _read(path: Path) -> dict[str, Any]:
    """The proposal in a file, checked."""
    from recalib.proposal import Proposal

    try:
        data: dict[str, Any] = json.loads(path.read_text())
        Proposal.from_dict(data)
    except (ValueError, KeyError, TypeError) as error:
        _exit(EX_USAGE, f"{path} holds no proposal: {error!r}")
    return data


def _stored(client: Client, name: str) -> dict[str, Any]:
    for stream in client.get("/api/v1/status")["streams"]:
        found: list[dict[str, Any]] = client.get(f"/api/v1/streams/{stream}/proposals")
        for data in found:
            if len(name) >= 4 and data["id"].startswith(name):
                return data
    _exit(EX_NO_STREAM, f"no stream has a proposal {name!r}")


def _decide(word: str, proposal: str, reason: str, url: str) -> None:
    client = Client(url)
    streams = client.get("/api/v1/status")["streams"]
    for name, stream in streams.items():
        if len(proposal) >= 4 and stream["proposal"].startswith(proposal):
            now = client.post(f"/api/v1/streams/{name}/{word}", proposal=proposal, reason=reason)
            click.echo(f"{name}: {now['phase']}")
            return
    _exit(EX_REFUSED, f"no stream waits for a decision on proposal {proposal!r}")


@main.command()
@click.argument("proposal")
@_reason_option
@_url_option
def approve(proposal: str, reason: str, url: str) -> None:
    """Let the waiting PROPOSAL (4 characters of its name or more) go to the board."""
    _decide("approve", proposal, reason, url)


@main.command()
@click.argument("proposal")
@_reason_option
@_url_option
def reject(proposal: str, reason: str, url: str) -> None:
    """Turn the waiting PROPOSAL (4 characters of its name or more) down."""
    _decide("reject", proposal, reason, url)


@main.command()
@click.argument("stream")
@click.option("--to", default="nominal", show_default=True, help="A payload of the ledger, or nominal.")
@_reason_option
@_url_option
def rollback(stream: str, to: str, reason: str, url: str) -> None:
    """Put an earlier payload of STREAM back, as a new generation."""
    now = Client(url).post(f"/api/v1/streams/{stream}/rollback", to=to, reason=reason)
    click.echo(f"{stream}: {now['phase']}")


@main.command()
@click.argument("stream")
@_reason_option
@_url_option
def freeze(stream: str, reason: str, url: str) -> None:
    """Write nothing to STREAM's board until it is unfrozen; monitoring goes on."""
    now = Client(url).post(f"/api/v1/streams/{stream}/freeze", reason=reason)
    click.echo(f"{stream}: {now['phase']}")


@main.command()
@click.argument("stream")
@_reason_option
@_url_option
def unfreeze(stream: str, reason: str, url: str) -> None:
    """Let the loop of STREAM act again."""
    now = Client(url).post(f"/api/v1/streams/{stream}/unfreeze", reason=reason)
    click.echo(f"{stream}: {now['phase']}")


@main.command()
@click.option("--package", "packages", type=click.Path(path_type=Path), multiple=True, default=["var/axol1tl.driftd"])
@click.option("--publish", multiple=True, default=["tcp://127.0.0.1:5555"], show_default=True, help="To bind.")
@click.option("--pattern", type=click.Choice(["push", "pub"]), default="push", show_default=True)
@click.option("--ipbus-port", type=int, default=50001, show_default=True, help="UDP.")
@click.option("--control", default="tcp://127.0.0.1:5556", show_default=True, help="For the world's operator.")
@click.option("--source", default="board", show_default=True)
@click.option("--run", "run_number", type=int, default=1, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--orbits-per-ls", type=int, default=40, show_default=True, help="2556 colliding crossings each.")
@click.option("--ls-seconds", type=float, default=1.5, show_default=True, help="0: as fast as it can.")
@click.option("--duration-ls", type=int, default=0, show_default=True, help="0: until it is stopped.")
@click.option("--orbits-per-message", type=int, default=4, show_default=True)
@click.option("--zero-bias-prescale", type=int, default=4, show_default=True, help="Of the sampled events.")
@click.option("--execution", type=click.Choice(["numpy", "compiled"]), default="numpy", show_default=True)
@click.option("--rtl", is_flag=True, help="Registers and datapath in SystemVerilog, run by Verilator.")
@click.option("--condition", "conditions", multiple=True, help="In force from the start.")
def board(
    packages: tuple[Path, ...],
    run_number: int,
    zero_bias_prescale: int,
    rtl: bool,
    **settings: Any,
) -> None:
    """Run the simulated board: crossings, trigger, score publisher, registers over IPbus."""
    from firmware.errors import FirmwareError
    from firmware.sim.board import BoardSettings, run_board
    from firmware.sim.stream import Sampling

    if rtl:
        settings["execution"] = "rtl"
    try:
        run_board(
            BoardSettings(packages=packages, run=run_number, sampling=Sampling(zero_bias_prescale), **settings),
            ready=lambda status: click.echo(json.dumps(status)),
        )
    except FirmwareError as error:
        _exit(EX_FAILED, str(error))


@main.command()
@click.argument("text")
@click.option("--control", default="tcp://127.0.0.1:5556", show_default=True, help="Of the simulated board.")
def condition(text: str, control: str) -> None:
    """Change the world around the simulated board: "jet_energy_scale=-0.08", "ageing=0.3 ramp=20", "clear"."""
    from monitor.daemon.demo import DemoFailed, operate

    order = {"do": "clear"} if text == "clear" else {"do": "condition", "text": text}
    try:
        click.echo(json.dumps(operate(control, **order)))
    except DemoFailed as error:
        _exit(EX_FAILED, str(error))


@main.command()
@click.option("--folder", type=click.Path(path_type=Path), default="var/demo", show_default=True)
@click.option("--serve", is_flag=True, help="Keep board and daemon running at the end.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object.")
def demo(folder: Path, serve: bool, as_json: bool) -> None:
    """Show the closed loop: a jet-scale drift on a simulated board, and its correction."""
    from monitor.daemon.demo import run as run_demo

    sys.exit(run_demo(folder, serve, as_json))


main.add_command(model_commands.model)
model_commands.model.add_command(cost_command.cost)
main.add_command(grafana_commands.grafana)
main.add_command(reference_commands.reference)
main.add_command(replay_commands.replay)


@main.group()
def bench() -> None:
    """Measure the figures that the project claims."""


@bench.command()
@click.option("--package", type=click.Path(path_type=Path), default="var/axol1tl.driftd", show_default=True)
@click.option("--events", type=int, default=100_000, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def emulate(package: Path, events: int, as_json: bool) -> None:
    """Run the datapath's executions against each other, for the nominal and 20 random payloads."""
    from monitor.daemon import bench as figures
    from recalib.train import TrainSettings, build_package

    found = figures.emulate(build_package(package, TrainSettings()), package.parent / "build", events)
    if as_json:
        click.echo(json.dumps(found))
        return
    for name, rate in found["events_per_s"].items():
        click.echo(f"{name:10} {rate:>12,} events/s")
    for name, differing in found["mismatches"].items():
        click.echo(f"{name:10} {differing:>12,} of {found['words_compared']:,} words differ from numpy's")
    for name, why in found["lacking"].items():
        click.echo(f"{name:10} was skipped: {why}")
    click.echo(f"{events:,} events, {found['payloads']} payloads")


@bench.command()
@click.option("--streams", type=click.IntRange(2), default=64, show_default=True, help="Streams a drift.")
@click.option("--alarms", type=click.IntRange(1), default=200, show_default=True, help="False alarms to wait for.")
@click.option("--run-length", type=float, default=1e6, show_default=True, help="Promised, in scores.")
@click.option("--block", type=click.IntRange(1), default=50, show_default=True, help="Scores.")
@click.option("--finite", "finite_streams", type=click.IntRange(1), default=2, show_default=True)
@click.option("--reference-events", type=click.IntRange(10**5), default=10**7, show_default=True, help="Production.")
@click.option("--peers", "peer_streams", type=click.IntRange(4), default=16, show_default=True, help="Streams a drift.")
@click.option("--lumi-sections", type=int, default=None, help="Of the fill; all of it without.")
@click.option("--seed", type=int, default=None, help="Of the drifts and streams; another one each time without it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def detect(
    streams: int,
    alarms: int,
    run_length: float,
    block: int,
    finite_streams: int,
    reference_events: int,
    peer_streams: int,
    lumi_sections: int | None,
    seed: int | None,
    as_json: bool,
) -> None:
    """Measure the e-detector's delays over the information bound, its false alarms, and those of others."""
    from monitor.daemon import bench_detect as ours
    from monitor.daemon.bench_peers import peers, psi_rule
    from monitor.daemon.bench_pileup import pileup

    seed = _drawn(seed)
    found = ours.detect(streams, alarms, run_length, block, seed, _progress)
    found |= ours.finite(finite_streams, run_length, block, seed, _progress)
    found["production"] = ours.production(reference_events, streams, seed, _progress)
    found["peers"] = peers(run_length * found["arl_ratio"], peer_streams, seed, _progress)
    found["psi_rule"] = psi_rule(seed)
    found |= pileup(seed, lumi_sections, _progress) | {"seed": seed}
    if as_json:
        click.echo(json.dumps(found))
        return
    click.echo(f"delay over D*: mean {found['fom_mean']:.2f}, worst {found['fom_worst']:.2f}")
    for name, peer in found["peers"].items():
        click.echo(f"  {name:18} {peer['fom_mean']:.2f}, {peer['missed']:.0%} missed")
    finite = f"{found['arl_ratio_finite']:.1f} with a reference of {found['finite_m']:,}"
    click.echo(f"run length over promised: {found['arl_ratio']:.2f} with p known, {finite}")
    for name, shape in found["production"]["shapes"].items():
        click.echo(f"  {name:16} K {shape['kl']:.1e}  {shape['ms']:>9.3f} ms at 40 MHz, × {shape['fom']:.2f} of D*")
    click.echo(f"{found['us_per_block']:.1f} µs a block; {found['cores_at_40_mhz_one_orbit']:.2f} cores at 40 MHz")
    sliced, blind = found["pileup"]["sliced"], found["pileup"]["unsliced"]
    alarms_by_slices = f"{sliced['false_alarms']} false alarms, {blind['false_alarms']} without slices"
    click.echo(f"pile-up of {found['pileup_profile']}: {alarms_by_slices}")


@bench.command()
@_config_option
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--orbits", type=click.IntRange(18), default=18_000, show_default=True, help="A run; 4 runs a round.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def ingest(config_path: Path, rounds: int, orbits: int, as_json: bool) -> None:
    """Measure how fast the daemon counts, over a loop that only receives the same messages."""
    from monitor.daemon.bench_ingest import ingest as measure

    _load(config_path)
    found = measure(config_path, rounds, orbits, _progress)
    if as_json:
        click.echo(json.dumps(found))
        return
    for size in ("orbit", "64k"):
        for dtype, rates in found["by_dtype"].items():
            spent = ", ".join(f"{what} {us}" for what, us in found["us_per_message"][dtype][size].items())
            rate = rates[f"scores_per_s_{size}"] / 1e6
            click.echo(f"{dtype} {size:5} {rate:6.0f} M scores/s, × {rates[f'ratio_{size}']:.2f} of bare; µs: {spent}")
    rss = [found[name] for name in ("rss_mb_start", "rss_mb", "rss_mb_peak")]
    click.echo(f"lost {found['lost']}; counting is {found['counting']}; MB at start, end, peak: {rss}")


@bench.command(name="push")
@click.option("--rounds", type=click.IntRange(1), default=100, show_default=True, help="Payloads, each armed twice.")
@click.option("--cache", type=click.Path(path_type=Path), default="var/datapath", show_default=True)
@click.option("--seed", type=int, default=None, help="Of the payloads; another one each time without it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def bench_push(rounds: int, cache: Path, seed: int | None, as_json: bool) -> None:
    """Measure a transaction over uHAL on a simulated board against bare register access to the same words."""
    from monitor.daemon import bench_push as figures

    found = figures.push(figures.Settings(rounds, _drawn(seed), cache))
    if as_json:
        click.echo(json.dumps(found))
        return
    for line in figures.table(found):
        click.echo(line)


@bench.command(name="recalibrate")
@click.option("--package", type=click.Path(path_type=Path), default="var/axol1tl.driftd", show_default=True)
@click.option(
    "--model",
    "chosen",
    type=click.Choice(["own", "v4", "cicada", "weights", "conditioned"]),
    multiple=True,
    default=("own", "v4"),
    show_default=True,
    help="And others so given.",
)
@click.option("--scenario", "names", multiple=True, help="Only this one, and others so given.")
@click.option("--events", type=click.IntRange(40_000), default=200_000, show_default=True, help="In a fit's sample.")
@click.option(
    "--verdict-events", type=click.IntRange(100_000), default=1_300_000, show_default=True, help="Crossings drawn."
)
@click.option(
    "--seed", type=int, default=None, help="Of all events and the mixtures; another one each time without it."
)
@click.option("--choices", is_flag=True, help="Also what each choice in the objective does, on jets scaled down.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def bench_recalibrate(
    package: Path,
    chosen: tuple[str, ...],
    names: tuple[str, ...],
    events: int,
    verdict_events: int,
    seed: int | None,
    choices: bool,
    as_json: bool,
) -> None:
    """Measure how well each knob, the engine's choice and simpler ways bring a drifted trigger back."""
    from monitor.daemon import bench_models
    from monitor.daemon import bench_recalibrate as figures
    from monitor.daemon.bench_scenarios import NAMES

    if unknown := set(names) - set(NAMES):
        _exit(EX_USAGE, f"no scenario {', '.join(sorted(unknown))}: there are {', '.join(NAMES)}")
    models = bench_models.models(chosen, package, _progress)
    if not models:
        _exit(EX_FAILED, f"no weights of AXOL1TL v4 at {bench_models.WEIGHTS}")
    packages = {
        name: bench_models.bench_package(model, package.parent / "bench", progress=_progress)
        for name, model in models.items()
    }
    seed = _drawn(seed)
    settings = figures.Settings(events, verdict_events, names or NAMES, seed, choices)
    found = figures.recalibrate(packages, settings)
    if as_json:
        click.echo(json.dumps(found))
        return
    for line in figures.table(found):
        click.echo(line)


@bench.command(name="lipschitz")
@click.option(
    "--bound",
    "bounds",
    type=click.FloatRange(min=0, min_open=True),
    multiple=True,
    default=(1.0, 2.0, 4.0),
    show_default=True,
    help="Of a constrained encoder, as `model train --lipschitz` takes it; and others so given.",
)
@click.option("--trainings", type=click.IntRange(1), default=3, show_default=True, help="Of each model.")
@click.option("--events", type=click.IntRange(100_000), default=400_000, show_default=True, help="Crossings.")
@click.option("--seed", type=int, default=None, help="Of trainings and events; another one each time without it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def bench_lipschitz(bounds: tuple[float, ...], trainings: int, events: int, seed: int | None, as_json: bool) -> None:
    """Measure how much less a model drifts whose encoder is norm-constrained, and what signals that costs."""
    from monitor.daemon import bench_lipschitz as measured
    from monitor.stats.binning import StatsError

    seed = _drawn(seed)
    settings = measured.Settings(bounds, trainings, events=events, seed=seed)
    try:
        found = measured.lipschitz(settings, _progress)
    except StatsError as error:
        _exit(EX_FAILED, f"a bound is so low that the scores hardly differ: {error}")
    if as_json:
        click.echo(json.dumps(found))
        return
    for line in measured.table(found):
        click.echo(line)


@bench.command(name="loop")
@click.option("--package", type=click.Path(path_type=Path), default="var/axol1tl.driftd", show_default=True)
@click.option("--chunks", type=click.IntRange(10), default=200, show_default=True, help="Of one lumi section each.")
@click.option(
    "--events",
    type=click.IntRange(1000),
    multiple=True,
    default=(20_000, 1_000_000),
    show_default=True,
    help="Crossings in a chunk; a run of the fill for each.",
)
@click.option("--controller", "controllers", multiple=True, help="Only this one, and others so given; and the oracle.")
@click.option("--seed", type=int, default=None, help="Of the fill and its crossings; another one each time without it.")
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="Processes that draw crossings.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def bench_loop(
    package: Path,
    chunks: int,
    events: tuple[int, ...],
    controllers: tuple[str, ...],
    seed: int | None,
    workers: int,
    as_json: bool,
) -> None:
    """Measure how often the rate is in tolerance over a fill, for driftd, others, and a cut at the true quantile."""
    from monitor.daemon import bench_loop as figures
    from recalib.train import TrainSettings, build_package

    if unknown := set(controllers) - set(figures.NAMES):
        _exit(EX_USAGE, f"no controller {', '.join(sorted(unknown))}: there are {', '.join(figures.NAMES)}")
    build_package(package, TrainSettings(), _progress)
    seed = _drawn(seed)
    settings = figures.Settings(chunks, events, controllers or figures.NAMES, seed, workers)
    found = figures.loop(package, settings, _progress)
    if as_json:
        click.echo(json.dumps(found))
        return
    for line in figures.table(found):
        click.echo(line)


if __name__ == "__main__":
    main()
