"""Scores to counts: bins, windows, and the reference that they are held against."""
