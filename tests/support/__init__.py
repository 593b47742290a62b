"""What several test files share: exact oracles, tiny models, the optimizers, and traces to compare."""
