"""What is made of simulated runs: traces for a viewer."""
