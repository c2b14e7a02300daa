"""Writes of the next versions of many scopes at an edge: several in a call of a script, several calls at once."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, TypeAlias

from edge_redis._core.chunks import split_by_bytes
from edge_redis._core.gather import gather, gather_each
from edge_redis._sync.change import encode_data
from edge_redis._sync.limits import WriteLimits
from edge_redis._sync.writer import VersionWriter
from edge_redis.errors import (
    CorruptDataError,
    EdgeRedisError,
    PartialUpdateError,
    StoreError,
    StoreReplyError,
    WrongKeyTypeError,
)
from edge_redis.models import SyncState

_BYTES_A_ROUND: Final = 4 * 1024 * 1024
"""Bytes of the updates that go out together."""

_BYTES_A_CALL: Final = 128 * 1024
"""Bytes of the updates in one call of the script, which holds the server for a few milliseconds at most."""

_UPDATE_BYTES: Final = 2600
"""What an update counts beside its data: a call has about 50 at most, and a round about 1,500."""

_DAMAGE: Final = (CorruptDataError, StoreReplyError, WrongKeyTypeError)
"""Errors by which a damaged key refuses a write: nothing of it was written, and the server works."""

FindWriter: TypeAlias = Callable[[str], VersionWriter]
"""Returns the writer of a scope's shard."""

Results: TypeAlias = dict[str, SyncState | EdgeRedisError]


async def write_each(
    find_writer: FindWriter, limits: WriteLimits, updates: Mapping[str, dict[str, Any]], *, is_delta: bool
) -> Results:
    """Write a version of each scope, many in a round trip; return each state, or the error of its write.

    Data that cannot be encoded are an error of the whole call, before anything is written. Not for writers with a
    queue, in which a write may wait for another one of this call.
    """
    bodies = {scope: encode_data(data, limits) for scope, data in updates.items()}
    found: Results = {}
    for part in split_by_bytes([*bodies], [len(body) + _UPDATE_BYTES for body in bodies.values()], _BYTES_A_ROUND):
        if not is_delta:
            found.update(await _write_together(find_writer, {scope: bodies[scope] for scope in part}))
        alone = [scope for scope in part if scope not in found]
        writes = [
            find_writer(scope).write(scope, updates[scope], is_delta=is_delta, encoded=bodies[scope]) for scope in alone
        ]
        found.update(zip(alone, await gather_each(writes), strict=True))
    return found


async def _write_together(find_writer: FindWriter, bodies: Mapping[str, bytes]) -> Results:
    """Write those of the scopes that can be written together; return their results."""
    shards: dict[VersionWriter, list[str]] = {}
    for scope in bodies:
        writer = find_writer(scope)
        if writer.takes_any_state:
            shards.setdefault(writer, []).append(scope)
    calls = [call for writer, scopes in shards.items() for call in _split(writer, scopes, bodies)]
    found: Results = {}
    for results in await gather(calls):
        found.update(results)
    return found


def _split(
    writer: VersionWriter, scopes: Sequence[str], bodies: Mapping[str, bytes]
) -> list[Coroutine[Any, Any, Results]]:
    """Return the calls that write the scopes of a shard."""
    sizes = [len(bodies[scope]) + _UPDATE_BYTES for scope in scopes]
    parts = split_by_bytes(scopes, sizes, _BYTES_A_CALL)
    return [_call(writer, {scope: bodies[scope] for scope in part}) for part in parts]


async def _call(writer: VersionWriter, bodies: Mapping[str, bytes]) -> Results:
    try:
        return await writer.write_together(bodies)
    except _DAMAGE as error:  # of the only scope, or of a key that all of them need
        return dict.fromkeys(bodies, error)


def check_results(found: Results) -> dict[str, SyncState]:
    """Return the states that were written.

    Raises:
        StoreError: the server failed, or a damaged key refused every scope.
        PartialUpdateError: scopes were refused.

    """
    states = {scope: each for scope, each in found.items() if isinstance(each, SyncState)}
    errors = {scope: each for scope, each in found.items() if isinstance(each, EdgeRedisError)}
    refusals = _DAMAGE if states else CorruptDataError  # an error of the store itself would hide the states
    for error in errors.values():
        if isinstance(error, StoreError) and not isinstance(error, refusals):
            raise error
    for scope, error in errors.items():
        text = f"{len(errors)} of {len(found)} scopes were not written; {scope!r}: {error}"
        raise PartialUpdateError(text, errors=errors, states=states) from error
    return states
