"""Figures of the product, each measured by a command."""
