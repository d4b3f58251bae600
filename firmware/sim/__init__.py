"""The simulated board: events, detector conditions, register banks, IPbus and the publisher."""
