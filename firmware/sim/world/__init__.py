"""The simulated world around the board: what collides, what the detector makes of it, and how both change."""
