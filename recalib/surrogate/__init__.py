"""The firmware's datapath, differentiable in its registers."""
