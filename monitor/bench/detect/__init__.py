"""How soon a drift is found, and how seldom one is called that is none."""
