"""How well a re-calibration brings the trigger back."""
