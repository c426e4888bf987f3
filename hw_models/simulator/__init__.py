"""Executes loop trees: ``functional`` on numbers, ``timed`` cycle by cycle; ``rtl`` has what hardware does, as logic."""
