"""How a cascade runs on a machine: presets that return loop trees, and which of several is taken."""
