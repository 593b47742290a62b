"""Measurements behind every figure in README and docs; not part of the package."""
