"""`driftd replay`: archived lumi sections through the daemon's own code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from monitor.cli.command import File, WorkCommand, config_option, fail, json_option
from monitor.exits import EX_DATA

if TYPE_CHECKING:
    from monitor.offline.replay import Columns, StreamSetup
    from monitor.offline.result import ReplayedLs


@click.command(cls=WorkCommand)
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--reference",
    "reference_path",
    type=File,
    default=None,
    help="Reference to judge by, with the detectors' default settings; else the configuration's stream is taken.",
)
@config_option
@click.option("--stream", default=None, help="Stream of the configuration; needed if there are several.")
@click.option("--scores", default="scores", show_default=True, help="Column of the scores.")
@click.option("--run", default="run", show_default=True, help="Column of the run; 1 where there is none.")
@click.option("--ls", default="ls", show_default=True, help="Column of the lumi section.")
@click.option("--pileup", default="pileup", show_default=True, help="Column of the pile-up, where there is one.")
@click.option("--plot", type=File, default=None, help="Draw what was judged into this PNG file.")
@click.option(
    "--tune",
    type=click.IntRange(0),
    default=None,
    help="Judge nothing; find settings of river's detectors with at most so many alarms each.",
)
@json_option
def replay(
    files: tuple[str, ...],
    reference_path: Path | None,
    config_path: Path,
    stream: str | None,
    plot: Path | None,
    tune: int | None,
    as_json: bool,
    **columns: str,
) -> None:
    """Run archived scores through the daemon's own judgement.

    FILES are npy, npz, hdf5, parquet, root or pt; patterns such as 'run*.npz' too. A row is an event (scores, run, ls,
    pileup), or a lumi section with a column `counts` (and the `edges` of its histogram) in place of scores. With
    --tune N it prints settings for the configuration.
    """
    from monitor.archive.samples import expand
    from monitor.offline import replay as archive

    names = expand(files)
    named = archive.Columns(**columns)
    setup = _setup(reference_path, config_path, stream).on_archive(names)
    if tune is not None:
        return _tune(names, setup, named, tune)
    result = archive.replay(names, setup, setup.detectors(), named, archive.unheard if as_json else _Teller())
    if not result.lumi_sections:
        fail(EX_DATA, f"{names[0]}: no lumi section was closed; skipped: {result.skipped or 'nothing'}")
    if plot:
        from monitor.plots.replay_figure import replay_figure

        replay_figure(plot, result.lumi_sections, setup.detect.rate_tolerance)
    said = result.summary()
    if as_json:
        click.echo(json.dumps(said))
        return None
    click.echo(
        f"{said['lumi_sections']:,} lumi sections ({said['hours']:.1f} h), {said['scores']:,} scores: "
        + ", ".join(f"{n} {level}" for level, n in said["levels"].items())
    )
    for name, n in said["alarms"].items():
        click.echo(f"{name}: {n} alarms, {said['alarms_per_hour'][name]:.3g} an hour")
    click.echo(f"{len(said['drifts'])} drifts, {sum(said['alarms'].values())} alarms")
    for cause, n in said["skipped"].items():
        click.echo(f"skipped: {n} messages ({cause})")
    click.echo(f"{said['seconds']:.1f} s: {said['ls_per_s']:,.0f} lumi sections a second")
    return None


class _Teller:
    """Prints every alarm and every change of the verdict."""

    def __init__(self) -> None:
        self._level = "ok"

    def __call__(self, seen: ReplayedLs) -> None:
        if seen.alarms or seen.level != self._level:
            alarms = f" [{', '.join(seen.alarms)}]" if seen.alarms else ""
            click.echo(f"run {seen.run} LS {seen.ls} {seen.level}: {seen.text}{alarms}")
        self._level = seen.level


def _setup(reference: Path | None, config: Path, stream: str | None) -> StreamSetup:
    from monitor.archive import references
    from monitor.config import ConfigError, load
    from monitor.offline.replay import StreamSetup

    if reference is not None:
        return StreamSetup(references.load(reference).without_events())
    try:
        loaded = load(config)
    except ConfigError as error:
        fail(EX_DATA, f"{error}\ngive --reference, or mend the configuration")
    name = stream or next(iter(loaded.streams))
    if name not in loaded.streams or (stream is None and len(loaded.streams) > 1):
        raise click.UsageError(f"give --stream: one of {', '.join(loaded.streams)}")
    found = loaded.streams[name]
    package = references.load(found.package).without_events()
    return StreamSetup(package, name, found.detect, found.hold, loaded.ingest, len(loaded.streams))


def _tune(files: list[str], setup: StreamSetup, columns: Columns, allowed: int) -> None:
    from monitor.offline.replay import replay as run
    from monitor.stats.detect.tuning import recorder, setting_of, tune

    wanted = {name: own for name, own in setup.detect.detectors.items() if setting_of(name)}
    recorders = {name: recorder(name, setup.reference, **own) for name, own in wanted.items()}
    run(files, setup, recorders, columns)
    click.echo(f"[streams.{setup.name}.detect.detectors]")
    for name, own in setup.detect.detectors.items():
        said = ""
        if name in recorders:
            found = tune(name, setup.reference, recorders[name].statistics, allowed, **own)
            own = own | {found.setting: found.value}
            said = f"  # {found.alarms} alarms on {len(recorders[name].statistics)} blocks"
        settings = ", ".join(f"{key} = {value:g}" for key, value in own.items())
        click.echo(f"{name} = {{ {settings} }}{said}" if own else f"{name} = {{}}")
