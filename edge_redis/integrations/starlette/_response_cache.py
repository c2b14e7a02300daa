"""A shared HTTP cache in front of an application, as ASGI middleware.

A resource is stored under one key. Where its responses depend on request headers (Vary), that entry names the headers,
and each variant has a key of its own. One request of all processes runs the application for what is missing, while the
others wait for its response. Where the response turns out to be personal or not to be stored, it goes to that one
request alone, and the others run the application themselves.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, cast

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge_redis._cache.compute_request import NoStore
from edge_redis._core import validation
from edge_redis._services.aio.cache import EdgeCache
from edge_redis._services.options import CacheOptions
from edge_redis.errors import ComputeFailedError, StoreError
from edge_redis.integrations.starlette import _policy as policy
from edge_redis.integrations.starlette._application import find_application
from edge_redis.integrations.starlette._exchange import (
    Exchange,
    StorableResponse,
    StoredResponse,
    is_response,
    send_stored,
)

_log: Final = logging.getLogger("edge_redis")

_PASS: Final = "pass"  # noqa: S105 -- no password
"""In place of a stored response: this one is not to be shared."""

_VARY: Final = "vary"
_VARY_FIELDS: Final = 3
_FIRST_ERROR, _FIRST_SERVER_ERROR = 400, 500
_MAX_PASSED: Final = 10_000
_PASSED_SECONDS: Final = 10.0
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


class ResponseCache:
    """Stores responses that say how long they may be shared, for all processes of the site.

    A response is stored for the seconds of its ``Cache-Control: s-maxage`` or ``max-age`` (``cache_headers`` makes
    these headers), with the tags of its ``Cache-Tag``. Never stored are responses with ``no-store``, ``private``,
    ``no-cache``, ``Set-Cookie`` or ``Vary: *``, and those to requests with ``Authorization``, ``Cookie`` or ``Range``.
    A stored response has an ``ETag``, and is answered by 304 where the client has it. A successful POST, PUT, PATCH or
    DELETE removes what is stored of its URL. ``request.state.response_cache`` is the EdgeCache, for ``invalidate_tag``.

    While the server cannot be reached, or does not answer in time, the application answers all requests.

    Args:
        app: the application behind it.
        cache: an asyncio EdgeCache; None: one in the namespace of the application's EdgeLifespan with "-http" added.
        options: arguments of that EdgeCache, such as max_size and max_bytes.
        default_seconds: for responses with status 200 and no Cache-Control; None: these are not stored.
        paths: patterns of the paths that are cached; ``*`` is any text.
        max_body_bytes: a larger response is not stored.
        timeout_seconds: after which a request goes on without the server.
        retry_seconds: pause before the server is asked again after it could not be reached.
        share_authorization: also cache requests with an Authorization header, as if they had none.
        share_cookies: also cache requests with cookies, as if they had none.
        share_set_cookie: also store responses that set cookies, which all clients then get.

    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        cache: EdgeCache | None = None,
        options: CacheOptions | None = None,
        default_seconds: float | None = None,
        paths: Sequence[str] = ("*",),
        max_body_bytes: int = 1_000_000,
        timeout_seconds: float = 1.0,
        retry_seconds: float = 2.0,
        share_authorization: bool = False,
        share_cookies: bool = False,
        share_set_cookie: bool = False,
    ) -> None:
        self.app = app
        self._cache = cache
        self._options: CacheOptions = options or {}
        if default_seconds is not None:
            validation.check_positive("default_seconds", default_seconds)
        self._default_seconds = default_seconds
        self._paths = tuple(paths)
        self._max_body_bytes = validation.check_integer("max_body_bytes", max_body_bytes, least=1)
        self._timeout_seconds = validation.check_positive("timeout_seconds", timeout_seconds)
        self._retry_seconds = validation.check_non_negative("retry_seconds", retry_seconds)
        self._sharing = policy.Sharing(share_authorization, share_cookies, share_set_cookie)
        self._suspended_until = 0.0
        self._passed: OrderedDict[str, float] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request from the cache, or by the application."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        cache = self._find_cache(scope)
        scope.setdefault("state", {})["response_cache"] = cache
        if scope["method"] not in _SAFE:
            await self._change(cache, scope, receive, send)
        elif self._is_cached(scope):
            await self._answer(cache, scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _find_cache(self, scope: Scope) -> EdgeCache:
        if self._cache is not None:
            return self._cache
        running = find_application(scope.get("state", {}))
        if running.response_cache is None:
            edge = running.edge
            running.response_cache = EdgeCache(edge.client, namespace=f"{edge.namespace}-http", **self._options)
            running.stack.push_async_callback(_close, running.response_cache)
        return running.response_cache

    def _is_cached(self, scope: Scope) -> bool:
        return (
            time.monotonic() >= self._suspended_until
            and any(fnmatchcase(scope["path"], pattern) for pattern in self._paths)
            and policy.is_shared_request(scope, self._sharing)
        )

    async def _answer(self, cache: EdgeCache, scope: Scope, receive: Receive, send: Send) -> None:
        resource = policy.resource_key(scope)
        if self._is_passed(resource):
            await self.app(scope, receive, send)
            return
        lookup = _Lookup(cache, resource, scope, self._timeout_seconds)
        try:
            found = await lookup.read()
        except (StoreError, TimeoutError) as error:
            self._suspend(error)
            await self.app(scope, receive, send)
            return
        if found is not None:
            await send_stored(found, scope, send, "hit")
        elif scope["method"] == "HEAD":
            await self.app(scope, receive, send)
        else:
            await self._fill(lookup, scope, receive, send)

    async def _fill(self, lookup: _Lookup, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application for a response that is missing, or wait for the request that does."""
        exchange = Exchange(self.app, scope, receive, send, self._seconds_of, self._max_body_bytes)
        try:
            found = await lookup.read_or_run(exchange)
        except (StoreError, ComputeFailedError) as error:
            if isinstance(error, StoreError):
                self._suspend(error)
            found = None
        except BaseException:
            await exchange.cancel()
            raise
        if exchange.is_started:
            if exchange.is_passed and exchange.status < _FIRST_SERVER_ERROR:
                self._pass(lookup.resource)
            await exchange.finish()
        elif found is not None:
            await send_stored(found, scope, send, "hit; collapsed")
        else:
            await self.app(scope, receive, send)

    def _seconds_of(self, status: int, headers: Headers) -> float | None:
        return policy.storage_seconds(status, headers, self._default_seconds, self._sharing)

    async def _change(self, cache: EdgeCache, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application for a request that may change the resource, then remove what is stored of it."""
        status = 500

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if status < _FIRST_ERROR:  # before the client learns of the change, and reads again
                    await self._remove(cache, policy.resource_key(scope))
            await send(message)

        await self.app(scope, receive, note_status)

    async def _remove(self, cache: EdgeCache, resource: str) -> None:
        if time.monotonic() < self._suspended_until:
            return
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await cache.delete(resource)
        except (StoreError, TimeoutError) as error:
            self._suspend(error)

    def _suspend(self, error: Exception) -> None:
        _log.warning("responses are not cached for %s s: %s", self._retry_seconds, error or "no answer in time")
        self._suspended_until = time.monotonic() + self._retry_seconds

    def _pass(self, resource: str) -> None:
        """Remember that a resource is not stored, so that no request waits for another's response to it."""
        self._passed[resource] = time.monotonic() + _PASSED_SECONDS
        while len(self._passed) > _MAX_PASSED:
            self._passed.popitem(last=False)

    def _is_passed(self, resource: str) -> bool:
        until = self._passed.get(resource)
        if until is None:
            return False
        if time.monotonic() < until:
            return True
        del self._passed[resource]
        return False


class _Lookup:
    """One request's way to the stored response: the resource's entry, and that of a variant where it names headers."""

    def __init__(self, cache: EdgeCache, resource: str, scope: Scope, timeout_seconds: float) -> None:
        self._cache, self.resource, self._scope = cache, resource, scope
        self._timeout_seconds = timeout_seconds
        self._key = resource
        self._names: tuple[str, ...] = ()

    async def read(self) -> StoredResponse | None:
        """Return the stored response, if there is one.

        Raises:
            StoreError, TimeoutError: the server cannot be reached, or does not answer in time.

        """
        async with asyncio.timeout(self._timeout_seconds):
            found = await self._cache.get(self.resource)
            if self._is_vary(found):
                found = await self._cache.get(self._key)
        return cast("StoredResponse", found) if is_response(found) else None

    async def read_or_run(self, exchange: Exchange) -> StoredResponse | None:
        """Return the stored response, or have it made by ``exchange``, by one of all that ask for it at once."""
        for _ in range(2):  # the resource, and one of its variants
            found = await self._read_or_run_once(exchange)
            if is_response(found):
                return cast("StoredResponse", found)
            if exchange.is_started or not self._is_vary(found):
                return None
        return None

    async def _read_or_run_once(self, exchange: Exchange) -> Any:
        seconds: list[float] = []

        async def compute() -> Any:
            made = await exchange.run()
            if made is None:
                return NoStore(_PASS)
            seconds.append(made.seconds)
            if made.vary == self._names:
                return made.response
            if self._names:  # the resource depends on other headers than before: it begins anew
                await self._cache.delete(self.resource)
                return NoStore(_PASS)
            return await self._store_variant(made)

        return await self._cache.get_or_compute(self._key, compute, lambda _: seconds[0], tags=lambda _: exchange.tags)

    async def _store_variant(self, made: StorableResponse) -> tuple[str, tuple[str, ...], str]:
        """Store the first variant of a resource; return the entry of the resource.

        Variants belong to one such entry: when it is removed, none of them is found any more.
        """
        generation = secrets.token_hex(8)
        variant = policy.variant_key(self.resource, made.vary, generation, self._scope)
        await self._cache.put(variant, made.response, made.seconds, tags=made.tags)
        return (_VARY, made.vary, generation)

    def _is_vary(self, found: Any) -> bool:
        """Whether an entry names headers; if so, look for the variant from now on."""
        if self._names or not isinstance(found, tuple) or len(found) != _VARY_FIELDS or found[0] != _VARY:
            return False
        self._names = found[1]
        self._key = policy.variant_key(self.resource, self._names, found[2], self._scope)
        return True


async def _close(cache: EdgeCache) -> None:
    try:
        async with asyncio.timeout(1.0):
            await cache.close()
    except (StoreError, TimeoutError) as error:
        _log.warning("the response cache was closed without its last counts: %s", error or "no answer in time")
