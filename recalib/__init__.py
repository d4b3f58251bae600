"""Trust-region recalibration of the parameters that synthesised firmware can change."""
