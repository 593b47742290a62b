"""How far influence can be trusted, what it costs, and what freezing by it gives.

Each module is a command, ``python -m benchmarks.influence.NAME``, and writes one JSON file with its command and seeds
to ``benchmarks/results/influence``.
"""
