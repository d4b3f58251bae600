"""What the statistics raise."""


class StatsError(ValueError):
    """The statistics cannot be computed from what was given."""
