"""Detectors of drift on block counts."""
