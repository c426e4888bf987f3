"""Systolic arrays and a vector unit at register-transfer level, in Amaranth: the reference for fill, skew and drain.

They multiply matrices, and their cycles are counted from outside: ``hw_models.simulator.timed.array`` must say the
same. The extra ``rtl`` brings Amaranth.
"""
