"""Bringing a payload onto boards, and finding out what became of it."""
