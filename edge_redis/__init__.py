"""A Redis-backed service layer for the processes of an edge site: cache, health, metrics, state sync."""
