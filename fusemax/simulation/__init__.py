"""Simulated runs beside the engine's figures, and what is made of them: accounts, traces for a viewer."""
