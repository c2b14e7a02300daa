"""The commands of `edge-redis sync`, by what they are about."""
