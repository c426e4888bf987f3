"""Design-space sweeps: a specification of axes, its points, and their costs as one table."""
