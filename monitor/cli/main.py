"""The command line: the daemon, the simulated board, the model, and the operator's commands."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import click

from monitor import config as configuration
from monitor import logs
from monitor.cli import audit as audit_commands
from monitor.cli import cost as cost_command
from monitor.cli import grafana as grafana_commands
from monitor.cli import model as model_commands
from monitor.cli import operator as operator_commands
from monitor.cli import reference as reference_commands
from monitor.cli import replay as replay_commands
from monitor.cli import tokens as token_commands
from monitor.exits import EX_CONFIG, EX_FAILED, EX_UNAVAILABLE, EX_USAGE, fail


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
        fail(EX_CONFIG, str(error))


def _config_option(function: Any) -> Any:
    path = click.Path(dir_okay=False, path_type=Path)
    return click.option("--config", "config_path", type=path, default="config.toml", show_default=True)(function)


@click.group()
@click.version_option(package_name="driftd")
def main() -> None:
    """Keep a machine-learned hardware trigger at its understood working point."""
    logs.configure("error")


@main.command()
@_config_option
def run(config_path: Path) -> None:
    """Run the daemon until SIGTERM; SIGHUP reads the configuration again."""
    from monitor.daemon.http.server import run as run_service

    sys.exit(run_service(_load(config_path), config_path))


@main.command()
@_config_option
@click.option("--offline", is_flag=True, help="Ask no board.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def check(config_path: Path, offline: bool, as_json: bool) -> None:
    """See whether all that the daemon needs is there and sound: 78 if not, 69 if only a board does not answer."""
    from monitor.daemon import check as checks

    found = []
    for finding in checks.findings(config_path, offline):
        found.append(finding)
        if not as_json:
            click.echo(str(finding))
    code = checks.exit_code(found)
    if as_json:
        click.echo(json.dumps({"exit_code": code, "findings": [vars(finding) for finding in found]}))
    sys.exit(code)


@main.command()
@_config_option
def health(config_path: Path) -> None:
    """Ask the daemon of this configuration whether it lives: 69 if not."""
    from monitor.daemon import health as own

    http = _load(config_path).http
    if not own.alive(http):
        fail(EX_UNAVAILABLE, f"no daemon answers on {own.url(http)}")


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
        fail(EX_FAILED, str(error))


@main.command()
@click.argument("text")
@click.option("--control", default="tcp://127.0.0.1:5556", show_default=True, help="Of the simulated board.")
def condition(text: str, control: str) -> None:
    """Change the world around the simulated board: "jet_energy_scale=-0.08", "ageing=0.3 ramp=20", "clear"."""
    from monitor.demo.demo import DemoFailed, operate

    order = {"do": "clear"} if text == "clear" else {"do": "condition", "text": text}
    try:
        click.echo(json.dumps(operate(control, **order)))
    except DemoFailed as error:
        fail(EX_FAILED, str(error))


@main.command()
@click.option("--folder", type=click.Path(path_type=Path), default="var/demo", show_default=True)
@click.option("--serve", is_flag=True, help="Keep board and daemon running at the end.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object.")
def demo(folder: Path, serve: bool, as_json: bool) -> None:
    """Show the closed loop: a jet-scale drift on a simulated board, and its correction."""
    from monitor.demo.demo import run as run_demo

    sys.exit(run_demo(folder, serve, as_json))


for command in operator_commands.COMMANDS:
    main.add_command(command)
main.add_command(audit_commands.audit)
main.add_command(token_commands.token)
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
    """Run the datapath's executions against each other, for the nominal and 20 random payloads.

    The model is that of the package, or the project's own, trained, where there is none.
    """
    from firmware.model.package import Package
    from monitor.bench import emulate as figures
    from recalib.training.train import TrainSettings, build_package

    model = Package.load(package) if package.exists() else build_package(package, TrainSettings(), _progress)
    found = figures.emulate(model, package.parent / "build", events)
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
    from monitor.bench.detect import figures as ours
    from monitor.bench.detect.peers import peers, psi_rule
    from monitor.bench.detect.pileup import pileup

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
    from monitor.bench.ingest import ingest as measure

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
    from monitor.bench import push as figures

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
    type=click.Choice(["own", "v4", "cicada", "forest", "weights", "conditioned"]),
    multiple=True,
    show_default="own and v4",
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
    from monitor.bench import models as bench_models
    from monitor.bench.outside import OutsideDataMissing
    from monitor.bench.recalibrate import figures
    from monitor.bench.recalibrate.scenarios import NAMES

    if unknown := set(names) - set(NAMES):
        fail(EX_USAGE, f"no scenario {', '.join(sorted(unknown))}: there are {', '.join(NAMES)}")
    try:
        models = bench_models.models(chosen, package, _progress)
    except OutsideDataMissing as missing:
        fail(EX_FAILED, str(missing))
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
    from monitor.bench import lipschitz as measured
    from monitor.stats.errors import StatsError

    seed = _drawn(seed)
    settings = measured.Settings(bounds, trainings, events=events, seed=seed)
    try:
        found = measured.lipschitz(settings, _progress)
    except StatsError as error:
        fail(EX_FAILED, f"a bound is so low that the scores hardly differ: {error}")
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
    from monitor.bench.loop import figures
    from recalib.training.train import TrainSettings, build_package

    if unknown := set(controllers) - set(figures.NAMES):
        fail(EX_USAGE, f"no controller {', '.join(sorted(unknown))}: there are {', '.join(figures.NAMES)}")
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
