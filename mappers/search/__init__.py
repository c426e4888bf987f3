"""The search for the best mapping of a cascade on a spatial array: the stated space, and what proves the answer."""
