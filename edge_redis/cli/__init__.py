"""The command `edge-redis`: one module a command group. Modules import what is slow to load inside the commands."""
