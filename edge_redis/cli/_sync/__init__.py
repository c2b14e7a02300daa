"""The commands of `edge-redis sync`, by topic."""
