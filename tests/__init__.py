"""A package of its own: others install one of the same name."""
