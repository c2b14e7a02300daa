"""Lets a blocking test use an awaited service: each call is run to its end on one loop.

So one suite shows that both APIs mean the same.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any, Self


class Portal:
    """An asyncio loop that a blocking test drives."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def run(self, awaitable: Any) -> Any:
        async def wait() -> Any:
            return await awaitable

        return self._runner.run(wait())

    def make(self, factory: Any, *args: Any, **kwargs: Any) -> Any:
        """Return ``factory(...)``, made on the loop, as a blocking object."""

        async def build() -> Any:
            return factory(*args, **kwargs)

        return Blocking(self, self._runner.run(build()))

    def close(self) -> None:
        self._runner.close()


class Blocking:
    """An awaited object whose awaitables are awaited at once."""

    def __init__(self, portal: Portal, target: Any) -> None:
        self.__dict__.update(_portal=portal, _target=target)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if inspect.isawaitable(found):
            return self._portal.run(found)
        if not callable(found):
            return found
        return lambda *args, **kwargs: self._finish(found(*args, **kwargs))

    def _finish(self, result: Any) -> Any:
        if inspect.isawaitable(result):
            return self._portal.run(result)
        return self._iterate(result) if isinstance(result, AsyncIterator) else result

    def _iterate(self, found: AsyncIterator[Any]) -> Iterator[Any]:
        end = object()
        while (each := self._portal.run(anext(found, end))) is not end:
            yield each

    def __contains__(self, key: object) -> bool:
        return bool(self._portal.run(self._target.contains(key)))

    def __enter__(self) -> Self:
        self._portal.run(self._target.__aenter__())
        return self

    def __exit__(self, *details: object) -> None:
        self._portal.run(self._target.__aexit__(*details))
