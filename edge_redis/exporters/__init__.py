"""What the services know, for other systems: Prometheus and OpenMetrics, OpenTelemetry."""
