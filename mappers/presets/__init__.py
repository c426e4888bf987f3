"""Strategies as presets: one file each, with one function that returns a loop tree."""
