"""Finding the parameters of one knob that bring p(s) back."""
