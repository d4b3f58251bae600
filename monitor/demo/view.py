"""The demo on a terminal: what goes on, and the report at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from monitor.demo.marks import EVENTS


def current(doing: str, status: dict[str, Any] | None = None) -> Group:
    """What the stream does at the moment."""
    title = Text(f"driftd demo: {doing}", style="bold")
    if not status or not status["last"]:
        return Group(title)
    last = status["last"]
    table = Table(show_header=False, box=None, padding=(0, 2))
    table.add_row("state", f"{status['phase']}  (generation {status['generation']})")
    table.add_row("lumi section", f"{last['ls']}  ({last['n']:,} crossings, pile-up {last['pileup']:.1f})")
    table.add_row("KL", f"{last['kl']:.5f}   PSI {last['psi']:.5f}   verdict {last['level']}")
    table.add_row("rate / target", "   ".join(f"× {r:.2f}" for r in last["ratios"]))
    table.add_row("registers", changed_registers(status["registers"]) or "nominal")
    table.add_row("", status["reason"])
    return Group(title, table)


def changed_registers(registers: list[dict[str, Any]]) -> str:
    """The changed registers in a line: how many of a field, and the range of their values."""
    fields: dict[str, list[float]] = {}
    for change in registers:
        fields.setdefault(change["field"], []).append(change["new_value"])
    return ", ".join(f"{name}: {len(values)} at {min(values):.3f}…{max(values):.3f}" for name, values in fields.items())


def report(console: Console, figures: dict[str, Any], plot: Path | None) -> None:
    """Print what came of it, and where the plot is."""
    table = Table("", "before", "drifted", "re-calibrated", title="The closed loop")
    table.add_row(
        "KL to the reference",
        *(f"{figures[key]:.5f}" for key in ("kl_before", "kl_drifted", "kl_after")),
    )
    for cut, (drifted, after, error) in enumerate(
        zip(figures["rate_drifted"], figures["rate_after"], figures["rate_error"], strict=True)
    ):
        table.add_row(f"rate / target, cut {cut}", "1", f"{drifted:.3f}", f"{after:.3f} ± {error:.3f}")
    console.print(table)
    steps = Table("since the drift", "lumi sections", "seconds")
    for name, text in EVENTS.items():
        if name in figures["seconds"]:
            steps.add_row(text, str(figures["lumi_sections"][name]), f"{figures['seconds'][name]:.1f}")
    console.print(steps)
    pileup = figures["pileup"]
    console.print(
        f"pile-up {pileup['from']:.1f} → {pileup['to']:.1f}: {pileup['pushes']} pushes; "
        f"memory in MB {figures['memory_mb']}" + (f"; plot {plot}" if plot else "")
    )
    console.print("[bold green]passed" if figures["passed"] else "[bold red]failed")
