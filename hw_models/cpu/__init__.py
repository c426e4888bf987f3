"""What a CPU is and what work on it costs: a roofline with caches, matrix-product and per-operator rates."""
