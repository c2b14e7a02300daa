"""The command edge-redis: reads its arguments, calls one thing, prints what it returns."""
