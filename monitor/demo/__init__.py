"""The closed loop, shown on a simulated board."""
