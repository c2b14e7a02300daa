"""Nodes, heartbeats, checks and their history: the subject of HealthMonitor."""
