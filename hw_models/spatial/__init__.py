"""Spatial-array machines: what a loop tree makes one do, and what that costs in time, energy and area."""
