# Generated from edge_redis/_services/aio/cache.py by scripts/dev/generate_blocking.py. Do not edit.
"""EdgeCache for a blocking client."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial, wraps
from typing import Any, ParamSpec, Protocol, TypeVar, cast

from edge_redis._cache.arguments import Ttl
from edge_redis._cache.compute_options import LEASE_SECONDS, ResultTags, ResultTtl, check_compute_options
from edge_redis._cache.config import CacheConfig, NearCache, check_near_cache
from edge_redis._cache.fail_open import AnyCache
from edge_redis._cache.function_keys import FunctionKeys, KeyOf, check_key, require_parentheses
from edge_redis._cache.key_pages import PagePosition
from edge_redis._cache.near_entry import MISSING
from edge_redis._core.codec import MAX_VALUE_BYTES, make_codec
from edge_redis._core.replication import TIMEOUT_SECONDS, check_replication
from edge_redis._core.type_codec import TypeCodec
from edge_redis._io.clients import BlockingClient
from edge_redis._io.service import BlockingService
from edge_redis._io.shared_listener import ThreadMembership
from edge_redis._io.user_functions import refuse_coroutines
from edge_redis._services.components import default_shards, make_cache, make_subscribers
from edge_redis.models import CacheEntry
from edge_redis.types import CacheStats, Eviction, OnError

P = ParamSpec("P")
T = TypeVar("T")


class CachedFunction(Protocol[P, T]):
    """A function whose results are cached."""

    key: Callable[P, str]
    """Returns the key of the result for these arguments."""
    invalidate: Callable[P, bool]
    """Removes the result for these arguments; whether it existed."""
    refresh: Callable[P, T]
    """Calls the function, stores its result and returns it."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the cached result for these arguments, or call the function."""

    def __get__(self, instance: object, owner: type | None = None) -> Callable[..., T]:
        """Return the function bound to an object, as a method is."""


class EdgeCache(BlockingService[AnyCache]):
    """A cache that many processes share: at most ``max_size`` values, each with a TTL.

    A read is one GET. Accesses are counted in the process and delivered to Redis every
    ``flush_every`` reads, every ``flush_interval`` seconds, before every call that returns counts,
    and on ``close``; if there are hits among them, also before every ``put``. With
    ``flush_every=1`` each read counts its access in Redis in the same step. With ``near_cache`` a
    value that was read is kept in the process, and reading it again costs no round trip, until any
    client writes its key.

    Args:
        client: a blocking client of Redis or Valkey; it stays open when the cache is closed.
        max_size: live entries, at most.
        default_ttl: TTL in seconds of entries that are put without one.
        namespace: caches of one namespace on one server are one cache.
        eviction: which entry a full cache evicts: "least_accessed", "lru" (least recently read) or
            "adaptive" (the best hit ratio on most traffic, see the explanation of eviction). All
            caches of a namespace must have the same one; an empty cache can be given another.
        flush_every: reads after which their counts are delivered; a process that dies loses no more.
        flush_interval: seconds after which counts are delivered. Hits of the near cache wait for
            this alone.
        max_value_bytes: size of an encoded value in bytes, at most.
        max_bytes: size of all keys and values in bytes, at most; None for no such bound.
        ttl_jitter: fraction (0 to below 1) of each TTL that is subtracted at random, so that entries
            that are put together do not expire together.
        near_cache: bounds of the near cache: a NearCache, a mapping of its fields, or True for the
            defaults.
        shards: parts of the cache, each in a hash slot of its own; the bounds are divided among them.
            None for 1, or 12 on a cluster (or max_size, if less). All caches of a namespace must have
            the same number.
        on_error: what happens while the server is unavailable. "raise": every call raises
            StoreUnavailableError. "miss": reads miss, functions compute, writes are dropped, and the
            keys that were not written are removed before anything else is read; after some failures
            in a row the server is not called for a while. ``clear``, ``invalidate_tag``,
            ``purge_expired`` and statistics raise all the same.
        codec: how values of your own types are stored: a mapping of each type to a TypeCodec. All caches
            of a namespace must have the same one: an entry with a type that a cache does not know
            is corrupt to it, and is removed when it is read.

    """

    def __init__(
        self,
        client: BlockingClient,
        max_size: int = 1000,
        default_ttl: float = 300.0,
        *,
        namespace: str = "default",
        eviction: Eviction = "least_accessed",
        flush_every: int = 4096,
        flush_interval: float = 0.2,
        max_value_bytes: int = MAX_VALUE_BYTES,
        max_bytes: int | None = None,
        ttl_jitter: float = 0.0,
        near_cache: NearCache | Mapping[str, Any] | bool = False,
        shards: int | None = None,
        on_error: OnError = "raise",
        codec: Mapping[type, TypeCodec] | None = None,
    ) -> None:
        config = CacheConfig(
            max_size=max_size,
            default_ttl=default_ttl,
            eviction=eviction,
            flush_every=flush_every,
            flush_interval=flush_interval,
            max_value_bytes=max_value_bytes,
            max_bytes=max_bytes,
            ttl_jitter=ttl_jitter,
            near=check_near_cache(near_cache),
            shards=default_shards(client, max_size) if shards is None else shards,
            on_error=on_error,
            codec=make_codec(codec),
        )
        component = make_cache(client, namespace, config)
        self._near = component.near
        subscriber = component.subscriber()
        listener = None if subscriber is None else ThreadMembership(client, subscriber, make_subscribers)
        super().__init__(client, component, listener)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of ``key``, or ``default`` if there is none or it has expired.

        A hit raises the entry's access count by one. An entry whose bytes do not decode is a miss;
        it is removed and counted in ``stats()["corrupt"]``.

        Raises:
            InvalidKeyError: the key is empty, over 1,024 bytes in UTF-8, or not encodable.
            InvalidTypeError: the key is not a str.
            StoreUnavailableError: the server is unavailable (not with ``on_error="miss"``).

        """
        near = self._near
        if near is not None:
            value = near.get(key)
            if value is not MISSING:
                return value
        return self._run(self._component.get(key, default))

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the values of those ``keys`` that are found, in one round trip; each counts as in ``get``."""
        return self._run(self._component.get_many(keys))

    def put(
        self,
        key: str,
        value: Any,
        ttl: Ttl = None,
        *,
        tags: Iterable[str] = (),
        replicas: int = 0,
        fsync: bool = False,
        replication_timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        """Store ``value`` under ``key`` for ``ttl``: seconds, a timedelta, NO_EXPIRY, or None for ``default_ttl``.

        A new key in a full cache evicts expired entries first, then entries chosen by the cache's
        ``eviction``. Overwriting restarts the entry's count, age and TTL, replaces its tags, and
        evicts nothing (unless the entry outgrows ``max_bytes``). A value that ``get_or_compute`` is
        computing for the key meanwhile does not replace it.

        With ``replicas=1`` it also waits, for ``replication_timeout`` seconds at most, until one replica has
        the entry (WAIT) and, where the server has WAITAOF and an append-only file, until it is on the server's
        disk. With ``fsync`` it must be on the server's disk, and on those of as many replicas (WAITAOF: Redis or
        Valkey 7.2, and ``appendonly yes`` on each). Such calls raise without the server, also with
        ``on_error="miss"``.

        Raises:
            NotReplicatedError: it was stored, but too few replicas acknowledged it in time, or it is not on the
                disk; store it again.
            ClientConfigurationError: ``replication_timeout`` is not below the client's ``socket_timeout``.
            InvalidKeyError: the key or a tag is empty, over 1,024 bytes in UTF-8, or not encodable.
            InvalidArgumentError: the TTL is not finite, under a millisecond or over a hundred years;
                or the cache has entries that were put with another ``eviction``, number of shards or
                kind of bound.
            UnsupportedTypeError: the value, or one inside it, is of a type that cannot be encoded.
            ValueTooLargeError: the encoded value is over ``max_value_bytes``, or the entry over ``max_bytes``.
            StoreUnavailableError: the server is unavailable or out of memory (not with ``on_error="miss"``).

        """
        replication = check_replication(replicas, replication_timeout, fsync=fsync) if replicas or fsync else None
        self._run(self._component.put(key, value, ttl, tags=tags, replication=replication))

    def put_many(
        self,
        mapping: Mapping[str, Any],
        ttl: Ttl = None,
        *,
        tags: Iterable[str] = (),
        replicas: int = 0,
        fsync: bool = False,
        replication_timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        """Store every value of ``mapping`` under its key, in one round trip, each as in ``put``.

        All values are checked before any is sent. They are stored in chunks of 100, each chunk atomic.
        """
        replication = check_replication(replicas, replication_timeout, fsync=fsync)
        self._run(self._component.put_many(mapping, ttl, tags=tags, replication=replication))

    def add(self, key: str, value: Any, ttl: Ttl = None) -> bool:
        """Store ``value`` under ``key`` if there is no such entry; return whether it was stored.

        Raises:
            StoreUnavailableError: the server is unavailable (also with ``on_error="miss"``).

        """
        return self._run(self._component.add(key, value, ttl))

    def incr(self, key: str, delta: int = 1, ttl: Ttl = None) -> int:
        """Add ``delta`` to the int under ``key``, whose TTL, tags and count stay; return the new int.

        Where there is no entry ``delta`` is stored for ``ttl``, as in ``put``.

        Raises:
            InvalidTypeError: the value or ``delta`` is not an int (a bool is none).
            InvalidArgumentError: ``delta`` or the sum exceeds 64 bits.
            StoreUnavailableError: the server is unavailable (also with ``on_error="miss"``).

        """
        return self._run(self._component.incr(key, delta, ttl))

    def compare_and_set(self, key: str, expected: Any, value: Any, ttl: Ttl = None) -> bool:
        """Store ``value`` as ``put`` does if the entry has the value ``expected``; return whether it was stored.

        Values are equal if their types and contents are: 1 is not True, and the order of a dict does not
        matter. A missing entry equals nothing.

        Raises:
            StoreUnavailableError: the server is unavailable (also with ``on_error="miss"``).

        """
        return self._run(self._component.compare_and_set(key, expected, value, ttl))

    def compare_and_delete(self, key: str, expected: Any) -> bool:
        """Remove ``key`` if the entry has the value ``expected`` (see ``compare_and_set``); return whether it had it.

        Raises:
            StoreUnavailableError: the server is unavailable (also with ``on_error="miss"``).

        """
        return self._run(self._component.compare_and_delete(key, expected))

    def pop(self, key: str, default: Any = None) -> Any:
        """Remove ``key`` and return its value, or ``default`` if there is none. Counts no access.

        Raises:
            StoreUnavailableError: the server is unavailable (also with ``on_error="miss"``).

        """
        return self._run(self._component.pop(key, default))

    def ttl(self, key: str) -> float | None:
        """Return the seconds until ``key`` expires: ``math.inf`` if it never does, None if there is no entry.

        Raises:
            StoreUnavailableError: the server is unavailable (also with ``on_error="miss"``).

        """
        return self._run(self._component.ttl(key))

    def delete(self, key: str) -> bool:
        """Remove ``key``; return whether it existed."""
        return self._run(self._component.delete(key))

    def delete_many(self, keys: Iterable[str]) -> int:
        """Remove these keys in one round trip; return how many of them existed."""
        return self._run(self._component.delete_many(keys))

    def contains(self, key: str) -> bool:
        """Return whether there is an entry ``key``. Counts no access."""
        return self._run(self._component.contains(key))

    __contains__ = contains

    def touch(self, key: str, ttl: Ttl = None) -> bool:
        """Let ``key`` expire ``ttl`` from now, as in ``put``; return whether it exists.

        Counts no access and leaves ``created_at``.
        """
        return self._run(self._component.touch(key, ttl))

    def get_or_compute(
        self,
        key: str,
        compute: Callable[[], Any],
        ttl: ResultTtl = None,
        *,
        tags: ResultTags = (),
        stale_ttl: Ttl = None,
        lease_seconds: float = LEASE_SECONDS,
        early: float = 0.0,
        negative_ttl: Ttl = None,
        error_ttl: Ttl = None,
    ) -> Any:
        """Return the value of ``key``, or store the result of ``compute()`` for ``ttl`` and return it.

        Of all processes that miss at once, one computes and the others wait for its value; the
        threads and tasks of a process wait for one answer inside the process. The caller that
        computes holds a lease, which is renewed while ``compute`` runs (for at most 60 leases).
        If its process dies, another caller computes when the lease has expired. If ``compute``
        is cancelled or interrupted, another caller computes at once. If it raises an Exception,
        its caller gets it, nothing is stored, and the callers that waited get a ComputeFailedError.
        None is a value like any other; a ``NoStore(value)`` is returned as ``value`` and not stored.

        If ``compute`` itself needs the value of another key, it waits for another process that computes
        that one for three leases at most, then computes it too, without storing it. So two processes do
        not wait for each other: where each value needs the other one, this raises RecursiveComputeError.

        If any process writes the key while its value is computed, the write wins: the computed value
        is returned to the caller that computed it and not stored, and those that waited get the value
        that was written. If meanwhile the key was deleted, the cache cleared or flushed, or one of the
        tags or a prefix of the key invalidated, it is not stored either, and one of them computes anew.

        Args:
            key: of the entry.
            compute: a function without arguments. For a blocking client it may be a coroutine function.
            ttl: seconds, a timedelta, NO_EXPIRY, None for ``default_ttl``, or a function of the computed
                value that returns one of these.
            tags: of the entry, as in ``put``, or a function of the computed value that returns them.
            stale_ttl: seconds or a timedelta that the entry lives longer than ``ttl`` (for plain reads,
                too). In this time one caller computes it anew while the others get the stale value at
                once; that caller gets it as well if its ``compute`` raises an Exception.
            lease_seconds: how long the others wait for a process that has died.
            early: above 0, the value is computed anew before it expires, with a probability that rises
                towards its expiry and with the time it took to compute (XFetch, Vattani et al.,
                "Optimal Probabilistic Cache Stampede Prevention", VLDB 2015; 1.0 is the optimum).
            negative_ttl: for which a None is stored, instead of ``ttl``.
            error_ttl: seconds or a timedelta for which all callers get a ComputeFailedError after an
                Exception of ``compute``. None: only those that waited for it.

        Raises:
            ComputeFailedError: another caller's ``compute`` raised while this one waited, or within
                ``error_ttl``.
            RecursiveComputeError: ``compute`` asks for the key that it computes, itself or by way of other keys
                that are computed for it, or for one whose computation in this process waits for that key.

        """
        options = check_compute_options(tags, stale_ttl, lease_seconds, early, negative_ttl, error_ttl)
        return self._run(self._component.get_or_compute(key, compute, ttl, options=options))

    def invalidate_tag(self, tag: str) -> int:
        """Remove every entry that carries ``tag``; return how many were live.

        Values with this tag that ``get_or_compute`` is computing meanwhile are not stored.
        """
        return self._run(self._component.invalidate_tag(tag))

    def invalidate_prefix(self, prefix: str) -> int:
        """Remove every entry whose key begins with ``prefix``; return how many were live.

        This walks the whole index, some hundreds of entries a call. Values of such keys that
        ``get_or_compute`` is computing meanwhile are not stored.
        """
        return self._run(self._component.invalidate_prefix(prefix))

    def entry(self, key: str) -> CacheEntry | None:
        """Return the entry ``key`` with its times and access count, or None. Counts no access."""
        return self._run(self._component.entry(key))

    def clear(self) -> int:
        """Remove every entry of the namespace; return how many were live. The statistics stay.

        Raises:
            InvalidArgumentError: the cache in Redis has another number of shards.

        """
        return self._run(self._component.clear())

    def purge_expired(self) -> int:
        """Remove expired entries; return how many, including those that Redis has expired.

        Index rows of entries that Redis has evicted are removed as well, and counted in
        ``stats()["repaired"]``; this walks the whole index, a few hundred rows a call.
        """
        return self._run(self._component.purge_expired())

    def flush(self) -> None:
        """Deliver the access counts of all caches of this process and namespace."""
        self._run(self._component.flush())

    def stats(self) -> CacheStats:
        """Return the statistics of all processes of the namespace, and some of this process.

        Of all processes: ``size`` (live entries), ``max_size``, ``hits``, ``misses``, ``hit_rate``
        (0 to 100), ``default_ttl`` (seconds), ``evictions`` (of live entries, for space),
        ``expirations``, ``corrupt`` (entries whose bytes did not decode), ``repaired`` (entries whose
        value Redis had evicted) and ``bytes`` (of keys and values; 0 without ``max_bytes``). The hits
        and misses of this process are always included, those of others within their ``flush_interval``.

        Of this process: with a near cache ``near_size`` (entries) and ``near_listening`` (whether
        writes are reported to it); with ``on_error="miss"`` ``fallbacks`` (calls answered without the
        server), ``pending_invalidations`` (keys to remove once it is back) and ``circuit`` ("closed"
        or "open").
        """
        return cast("CacheStats", self._run(self._component.stats()))

    @property
    def size(self) -> int:
        """Live entries."""
        return self._run(self._component.size())

    @property
    def hit_rate(self) -> float:
        """Hits of all requests of all processes, 0 to 100; 0.0 before any request."""
        return self._run(self._component.hit_rate())

    def keys(self) -> Iterator[str]:
        """Yield the keys of live entries, some hundreds a round trip.

        A key that exists all the while is yielded at least once; one that is added or removed
        meanwhile may be yielded.
        """
        position: PagePosition | None = PagePosition()
        while position is not None:
            page = self._run(self._component.page(position))
            yield from page.keys
            position = page.next

    @require_parentheses
    def cached(
        self,
        ttl: ResultTtl = None,
        key: KeyOf = None,
        *,
        tags: ResultTags = (),
        stale_ttl: Ttl = None,
        lease_seconds: float = LEASE_SECONDS,
        early: float = 0.0,
        negative_ttl: Ttl = None,
        error_ttl: Ttl = None,
    ) -> Callable[[Callable[P, T]], CachedFunction[P, T]]:
        """Return a decorator that caches the results of a function, each as ``get_or_compute`` does.

        For example::

            @cache.cached(ttl=60)
            def report(day: str) -> dict: ...

            report("monday")
            report.invalidate("monday")

        The entry's key is ``key(*args, **kwargs)`` if ``key`` is a function. Otherwise it begins with
        ``key``, or the function's full name, followed by a digest of the arguments if there are any;
        these must be of types that the cache can store.

        Raises:
            InvalidArgumentError: without ``key``, other functions may have the same name (lambdas, functions
                inside functions, functions of ``__main__``), or no key can be made (methods).
            InvalidTypeError: not a function, of a kind that cannot be cached (generators), or decorated without
                parentheses.

        """
        check_key(key)
        options = check_compute_options(tags, stale_ttl, lease_seconds, early, negative_ttl, error_ttl)

        def decorate(function: Callable[P, T]) -> CachedFunction[P, T]:
            refuse_coroutines("function", function)
            keys = FunctionKeys(function, key, self._component.config.codec)

            @wraps(function)
            def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
                call = partial(function, *args, **kwargs)
                result: T = self._run(
                    self._component.get_or_compute(keys.key(*args, **kwargs), call, ttl, options=options)
                )
                return result

            def invalidate(*args: P.args, **kwargs: P.kwargs) -> bool:
                return self.delete(keys.key(*args, **kwargs))

            def refresh(*args: P.args, **kwargs: P.kwargs) -> T:
                call = partial(function, *args, **kwargs)
                result: T = self._run(self._component.refresh(keys.key(*args, **kwargs), call, ttl, options=options))
                return result

            cached = cast("CachedFunction[P, T]", wrapper)
            cached.key, cached.invalidate, cached.refresh = keys.key, invalidate, refresh
            return cached

        return decorate
