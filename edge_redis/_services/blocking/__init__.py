# Generated from edge_redis/_services/aio/__init__.py by scripts/dev/generate_blocking.py. Do not edit.
"""The public classes for a blocking client."""
