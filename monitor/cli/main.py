"""The command line: what commands there are, and where each is found."""

from __future__ import annotations

import click

from monitor.cli.lazy import LazyGroup

CLI = "monitor.cli"

SECTIONS = {
    "Set up": {
        "init": (f"{CLI}.init:init", "Write a configuration file to start from."),
        "check": (f"{CLI}.run:check", "Check that everything the daemon needs is there and sound."),
        "run": (f"{CLI}.run:run", "Run the daemon until SIGTERM or Ctrl-C."),
        "health": (f"{CLI}.run:health", "Ask whether the daemon of a configuration answers."),
        "token": (f"{CLI}.tokens:token", "Make, list and revoke the tokens of HTTP callers."),
        "grafana": (f"{CLI}.grafana:grafana", "Put dashboards and alert rules into a Grafana."),
    },
    "Operate": {
        "status": (f"{CLI}.operator.status:status", "Show how every board and stream is doing."),
        "recalibrate": (f"{CLI}.operator.recalibrate:recalibrate", "Collect events and fit a new payload now."),
        "proposal": (f"{CLI}.operator.proposal:proposal", "Show what a fit proposed."),
        "approve": (f"{CLI}.operator.orders:approve", "Approve a waiting proposal: it goes to the board."),
        "reject": (f"{CLI}.operator.orders:reject", "Reject a waiting proposal: nothing is written."),
        "rollback": (f"{CLI}.operator.orders:rollback", "Put an earlier payload of a stream back."),
        "freeze": (f"{CLI}.operator.orders:freeze", "Stop writing to a stream's board; monitoring goes on."),
        "unfreeze": (f"{CLI}.operator.orders:unfreeze", "Let the loop of a stream write to its board again."),
        "audit": (f"{CLI}.audit:audit", "Show and verify the record of all commands."),
    },
    "Models and data": {
        "model": (f"{CLI}.model.group:model", "Train, import, inspect and verify model packages."),
        "reference": (f"{CLI}.reference:reference", "Build, show and compare reference distributions."),
        "replay": (f"{CLI}.replay:replay", "Run archived scores through the daemon's own judgement."),
    },
    "Try and measure": {
        "demo": (f"{CLI}.demo:demo", "Show the closed loop on a simulated board."),
        "board": (f"{CLI}.board:board", "Run the simulated board, or change the world around it."),
        "bench": (f"{CLI}.bench.group:bench", "Measure the figures that the project claims."),
    },
}


@click.group(cls=LazyGroup, sections=SECTIONS)
@click.version_option(package_name="driftd")
def main() -> None:
    """Keep a machine-learned hardware trigger at its understood working point."""
