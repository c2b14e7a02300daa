"""Nodes, heartbeats, checks and their history: what HealthMonitor, HealthWatch and TransitionRelay do."""
