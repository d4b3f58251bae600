"""A stream at work: its loop, its fits and its way to the boards."""
