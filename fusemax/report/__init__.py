"""Reports of result tables: the Pareto front, a figure of it, and one HTML page that needs no network."""
