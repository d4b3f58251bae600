"""Files of scores, events and histograms, and references made of them."""
