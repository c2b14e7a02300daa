"""The command edge-redis: parse, call one method, print."""
