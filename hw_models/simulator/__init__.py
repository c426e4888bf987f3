"""Executes loop trees: ``functional`` on numbers, ``timed`` in cycles; ``rtl`` is the logic that arrays are held to."""
