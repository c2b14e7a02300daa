"""Exporters of the services' values to Prometheus, OpenMetrics and OpenTelemetry."""
