"""How fast this machine is: microbenchmarks, timed kernels, and tables of measurements."""
