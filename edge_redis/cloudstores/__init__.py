"""Cloud stores on what is not Redis. Each is an extra of its own."""
