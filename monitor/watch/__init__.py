"""From messages to verdicts: counting, accounting, drift, policy."""
