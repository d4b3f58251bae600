"""Words that several rooms share: moments, levels of a verdict, and what a stream holds."""

from typing import Literal

Moment = tuple[int, int]
"""(run, lumi section)."""

NEVER: Moment = (0, 0)

LS_SECONDS = 2**18 * 3564 / 40.0789e6
"""Length of a lumi section: 2^18 orbits of 3564 crossings, at the LHC's bunch-crossing frequency in Hz."""

SCORES_PER_LS = 7e7
"""Scores that a scouting tap sees in a lumi section."""

Level = Literal["ok", "watch", "drift", "thin"]
"""What a verdict says of a lumi section; thin: of too few scores to tell."""

Hold = Literal["distribution", "rate"]
"""What a stream keeps: p(s) given the pile-up, or the rates at its cuts."""

STATE_DIR = "var"
"""Folder of ledger, audit and compiled datapaths, beside the configuration that names no other."""
