"""What an operator asks of a daemon over HTTP."""
