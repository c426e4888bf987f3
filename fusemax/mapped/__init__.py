"""Mappings searched for: the best of a cascade, or of all cascades that rewrites derive from it, with a lower bound."""
