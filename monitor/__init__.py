"""Drift monitoring of machine-learned trigger scores."""
