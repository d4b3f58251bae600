"""What the project claims in figures, measured."""
