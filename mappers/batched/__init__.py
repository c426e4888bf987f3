"""Mapping strategies for many points at once: the same choices and counts as one by one, over arrays."""
