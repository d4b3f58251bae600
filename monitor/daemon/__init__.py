"""The long-running service around the statistics, the fit and the board."""
