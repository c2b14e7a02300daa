"""The component behind EdgeMetrics: counts, latencies and errors of function invocations."""
