"""Other Python servers that pip installs, serving the same thing as ours in the same run."""

from benchmarks.peers.measure import measure_peers

__all__ = ["measure_peers"]
