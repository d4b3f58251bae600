"""The state machine of a stream: the one place that decides."""
