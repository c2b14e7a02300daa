"""Exit codes of every command."""

from __future__ import annotations

from typing import Final

OK: Final = 0
FINDING: Final = 1
"""The command ran and found something to act on (an unhealthy node, a dead letter), or could not do its work."""
USAGE: Final = 2
"""The command line, the configuration or a value in it is wrong."""
UNAVAILABLE: Final = 3
"""A server cannot be reached, or refuses."""
INTERRUPTED: Final = 130
"""Ended by Ctrl-C."""
