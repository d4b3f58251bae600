"""What goes wrong in the daemon; faults of a configuration are `monitor.config.ConfigError`."""


class DaemonError(Exception):
    """Anything that keeps the daemon from doing what was asked of it."""
