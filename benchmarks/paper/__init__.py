"""The experiments of arXiv 2501.06954 and those its reviewers asked for, a file each: `python -m benchmarks paper`."""
