"""Compilers and synthesis tools of others."""
