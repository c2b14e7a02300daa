"""Writes of the next versions of many scopes at an edge: several in a call of a script, several calls at once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from edge_redis._core.chunks import split_by_bytes
from edge_redis._core.gather import gather, gather_each
from edge_redis._core.operation import Operation, command
from edge_redis._sync.change import encode_data
from edge_redis._sync.failures import MOVED
from edge_redis._sync.limits import WriteLimits
from edge_redis._sync.scripts import ScopeWrite
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

Plans: TypeAlias = dict[VersionWriter, list[ScopeWrite]]

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
        writers = {scope: find_writer(scope) for scope in part}
        found.update(await _write_together(await _plan(writers, updates, bodies, is_delta=is_delta), is_delta=is_delta))
        alone = [scope for scope in part if scope not in found]
        writes = [
            writers[scope].write(scope, updates[scope], is_delta=is_delta, encoded=bodies[scope]) for scope in alone
        ]
        found.update(zip(alone, await gather_each(writes), strict=True))
    return found


async def _plan(
    writers: Mapping[str, VersionWriter],
    updates: Mapping[str, dict[str, Any]],
    bodies: Mapping[str, bytes],
    *,
    is_delta: bool,
) -> Plans:
    """Return the writes of the scopes by their writers. The present states that they are made of take a round trip.

    A scope is left out where its state cannot be read, or none can be made of it: a write of its own says why.
    """
    made_of = [scope for scope, writer in writers.items() if is_delta or writer.needs_state]
    reads: list[Operation[Any]] = [writers[scope].replica.read_document(scope) for scope in made_of]
    found: list[Any] = await gather_each([*reads, command(list, "TIME")]) if made_of else [None]
    present, time = dict(zip(made_of, found, strict=False)), found[-1]
    plans: Plans = {}
    for scope, writer in writers.items():
        state, body = present.get(scope), bodies[scope]
        if scope not in present:
            write = ScopeWrite(scope, body, hashlib.sha256(body).hexdigest())
        elif isinstance(state, EdgeRedisError) or isinstance(time, EdgeRedisError):
            continue
        else:
            try:
                write = writer.plan(scope, updates[scope], body, state, time, is_delta=is_delta)
            except EdgeRedisError:
                continue
        plans.setdefault(writer, []).append(write)
    return plans


async def _write_together(plans: Plans, *, is_delta: bool) -> Results:
    """Write the scopes of each shard by a few calls, all of which go out together."""
    found: Results = {}
    calls = [
        _call(writer, part, is_delta=is_delta)
        for writer, writes in plans.items()
        for part in split_by_bytes(writes, [len(each.body) + _UPDATE_BYTES for each in writes], _BYTES_A_CALL)
    ]
    for results in await gather(calls):
        found.update(results)
    return found


async def _call(writer: VersionWriter, writes: Sequence[ScopeWrite], *, is_delta: bool) -> Results:
    try:
        return await writer.write_together(writes, is_delta=is_delta)
    except MOVED:  # each scope finds its new shard by a write of its own
        return {}
    except _DAMAGE as error:  # of the only scope, or of a key that all of them need
        return dict.fromkeys([each.scope for each in writes], error)


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
