"""What the firmware is: fixed point, the parts of a model, registers and payloads, and the package they travel in."""
