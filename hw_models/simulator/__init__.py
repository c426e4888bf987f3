"""Executes loop trees on machines, on values and in time; shares no counting code with the engine."""
