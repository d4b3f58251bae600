"""Counts beside what was expected of them: distances, rates, onset, and what drifted in words."""
