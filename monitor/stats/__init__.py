"""Statistics of binned score streams: pure functions and small values, no I/O."""
