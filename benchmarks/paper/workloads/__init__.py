"""What the experiments train that the benchmark does not have."""
