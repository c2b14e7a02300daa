"""The command `edge-redis`: one module a command group. Slow imports are inside the commands."""
