"""From a sample of drifted events to a proposal."""
