"""Training models of our own, and packing them with their reference."""
