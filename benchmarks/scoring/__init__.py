"""Verdicts from committed results: reads result files only, and runs nothing."""
