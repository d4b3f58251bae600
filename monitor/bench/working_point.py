"""Where the figures are taken: the pile-up, the rates of the cuts, and how many events are drawn for them."""

PILEUP = 45.0
PILEUP_RANGE = (20.0, 60.0)
RATES = (0.01, 0.0025)
"""Of the cuts."""
SIGNAL_EVENTS = 20_000
"""Of each signal."""
SIZING_EVENTS = 200_000
"""With which it is found how strong a drift must be."""
GOLDEN = 2048
"""Vectors that an execution must reproduce."""
DRAWN_AT_ONCE = 50_000
"""Events."""
