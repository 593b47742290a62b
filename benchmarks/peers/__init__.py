"""Published ways to do without a tuned rate per group: optimizers from their own packages, and ratios by rule."""

from benchmarks.peers.heuristics import HEURISTICS, Heuristic
from benchmarks.peers.peer import Peer, PeerRun
from benchmarks.peers.registry import PEERS, get, names

__all__ = ["HEURISTICS", "PEERS", "Heuristic", "Peer", "PeerRun", "get", "names"]
