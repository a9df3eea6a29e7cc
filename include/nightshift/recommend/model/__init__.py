"""The model: its network, what it reads, the ids' deltas, and the files it is kept in."""
