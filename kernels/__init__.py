"""Cascades run for real: compiled kernels and their measurement.

The room is empty for now: every figure that fusemax prints today comes from the cost models, none from a run.
"""
