"""Invocations, aggregated: the subject of EdgeMetrics."""
