"""`driftd bench detect`: delays and false alarms of the detectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from monitor.cli.bench.output import tell
from monitor.cli.command import WorkCommand, drawn, json_option, progress, seed_option


@click.command(cls=WorkCommand)
@click.option("--streams", type=click.IntRange(2), default=64, show_default=True, help="Streams for each drift.")
@click.option("--alarms", type=click.IntRange(1), default=200, show_default=True, help="False alarms to wait for.")
@click.option("--run-length", type=float, default=1e6, show_default=True, help="Promised run length, in scores.")
@click.option("--block", type=click.IntRange(1), default=50, show_default=True, help="Scores in a block.")
@click.option(
    "--finite",
    "finite_streams",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="Streams that are tried against a finite reference.",
)
@click.option(
    "--reference-events",
    type=click.IntRange(10**5),
    default=10**7,
    show_default=True,
    help="Events of the reference, for delays as in production.",
)
@click.option(
    "--peers",
    "peer_streams",
    type=click.IntRange(4),
    default=16,
    show_default=True,
    help="Streams for each drift, for other detectors.",
)
@click.option("--lumi-sections", type=int, default=None, help="Lumi sections of the fill.  [default: all of it]")
@seed_option
@json_option
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
    """Measure how soon drifts are found, and false alarms.

    Delays of the e-detector over the information bound, its false alarms, and those of other detectors.
    """
    from monitor.bench.detect import figures as ours
    from monitor.bench.detect.peers import peers, psi_rule
    from monitor.bench.detect.pileup import pileup

    seed = drawn(seed)
    found = ours.detect(streams, alarms, run_length, block, seed, progress)
    found |= ours.finite(finite_streams, run_length, block, seed, progress)
    found["production"] = ours.production(reference_events, streams, seed, progress)
    found["peers"] = peers(run_length * found["arl_ratio"], peer_streams, seed, progress)
    found["psi_rule"] = psi_rule(seed)
    found |= pileup(seed, lumi_sections, progress) | {"seed": seed}
    tell(found, as_json, _lines(found))


def _lines(found: dict[str, Any]) -> Iterator[str]:
    yield f"delay over D*: mean {found['fom_mean']:.2f}, worst {found['fom_worst']:.2f}"
    for name, peer in found["peers"].items():
        yield f"  {name:18} {peer['fom_mean']:.2f}, {peer['missed']:.0%} missed"
    finite = f"{found['arl_ratio_finite']:.1f} with a reference of {found['finite_m']:,}"
    yield f"run length over promised: {found['arl_ratio']:.2f} with p known, {finite}"
    for name, shape in found["production"]["shapes"].items():
        yield f"  {name:16} K {shape['kl']:.1e}  {shape['ms']:>9.3f} ms at 40 MHz, × {shape['fom']:.2f} of D*"
    yield f"{found['us_per_block']:.1f} µs a block; {found['cores_at_40_mhz_one_orbit']:.2f} cores at 40 MHz"
    sliced, blind = found["pileup"]["sliced"], found["pileup"]["unsliced"]
    alarms_by_slices = f"{sliced['false_alarms']} false alarms, {blind['false_alarms']} without slices"
    yield f"pile-up of {found['pileup_profile']}: {alarms_by_slices}"
