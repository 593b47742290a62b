"""Learning rates per parameter group, set by the loss's own curvature, for any PyTorch optimizer."""
