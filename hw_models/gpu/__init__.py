"""What a GPU is and what work on it costs: thread blocks on multiprocessors, units that overlap or do not, waves."""
