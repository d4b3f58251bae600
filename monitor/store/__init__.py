"""What was done and decided, kept: the ledger."""
