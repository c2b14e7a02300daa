"""Whose turn it is in a simulation: what an actor draws at random, and hears, follows from its own steps alone.

So a run is the same whenever it is run again, and two orders of steps that do not touch each other come to the same.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

SETTING_UP, CHECKING = "setting up", "checking"


class Turns:
    """Stands in for ``secrets.token_hex`` and keeps what each actor was answered."""

    def __init__(self) -> None:
        self._begin("")

    def _begin(self, salt: str) -> None:
        self.owner = SETTING_UP
        self.heard: dict[str, list[Hashable]] = defaultdict(list)
        self._salt = salt
        self._drawn: Counter[str] = Counter()

    def token_hex(self, nbytes: int | None = None) -> str:
        self._drawn[self.owner] += 1
        text = f"{self._salt} {self.owner} {self._drawn[self.owner]}"
        return hashlib.blake2b(text.encode(), digest_size=nbytes or 32).hexdigest()

    def hear(self, what: Hashable) -> None:
        self.heard[self.owner].append(what)

    @contextmanager
    def play(self, salt: str = "") -> Iterator[None]:
        """Begin anew. What is drawn until the end is a function of ``salt`` and of whose turn it is."""
        self._begin(salt)
        drawn, secrets.token_hex = secrets.token_hex, self.token_hex
        try:
            yield
        finally:
            secrets.token_hex = drawn


turns = Turns()
