"""The colours that distributions have in every figure."""

REFERENCE = "0.35"
"""What is expected."""
BEFORE = "tab:red"
"""What is seen of a drift."""
AFTER = "tab:blue"
"""What a re-calibration promises, or has brought."""
