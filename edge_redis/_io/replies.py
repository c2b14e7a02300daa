"""The commands of operations and the results of their replies, for both runners.

A script that the server does not know (restart, SCRIPT FLUSH, failover to a new replica) is sent
again with its source, once. NOSCRIPT fails only its own command, so in a batch only the unknown
scripts are sent again, in their order; in an ordered batch, so are all operations after the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from redis import exceptions as redis_errors

from edge_redis._core.operation import Batch, Operation
from edge_redis._io.error_mapping import LIBRARY_ERRORS, translate
from edge_redis._io.reply_errors import PART_ERRORS
from edge_redis.errors import CorruptDataError, EdgeRedisError

T = TypeVar("T")


def args_with_source(operation: Operation[Any], args: tuple[Any, ...] | None = None) -> tuple[Any, ...]:
    """Return the command that carries the script's source instead of its SHA1; of these ``args`` where given."""
    args = operation.args if args is None else args
    return args if operation.script is None else ("EVAL", operation.script.source, *args[2:])


def args_for_cluster(operation: Operation[Any]) -> tuple[Any, ...]:
    """Return the command with one more key for its script, ``<tag>:moved``, unless the script takes any number.

    The key exists in a shard alone that was moved, whose scripts write nothing (``_core/lua/moved.lua``).

    While a slot moves, some of its keys are at the old master and some at the new one. Scripts use more keys than they
    declare, and either master would run one whose declared keys it has, or the new one any with a single key: that
    would write half of a change. Both refuse (TRYAGAIN) a script with several keys that are not all there.
    """
    script, args = operation.script, operation.args
    if script is None or len(script.keys) != 1:
        return args
    last = 3 + int(args[2])
    guard = str(args[3]).partition("}")[0] + "}:moved"
    return (*args[:2], last - 2, *args[3:last], guard, *args[last:])


def args_of_resends(operations: Sequence[Operation[Any]]) -> list[tuple[Any, ...]]:
    """Return the commands to send again, in order: the first one of each script brings its source to the server."""
    commands: list[tuple[Any, ...]] = []
    sent: set[str] = set()
    for operation in operations:
        script = operation.script
        is_first = script is not None and script.sha not in sent
        commands.append(args_with_source(operation) if is_first else operation.args)
        if script is not None:
            sent.add(script.sha)
    return commands


def find_resends(batch: Batch[Any], replies: Sequence[Any]) -> list[int]:
    """Return the places in ``batch`` of the operations to send again with their source."""
    unknown = [place for place, reply in enumerate(replies) if isinstance(reply, redis_errors.NoScriptError)]
    return list(range(unknown[0], len(replies))) if unknown and batch.ordered else unknown


def decode(operation: Operation[T], reply: Any) -> T:
    """Return the result of ``operation``."""
    try:
        return operation.decode(reply)
    except EdgeRedisError:
        raise
    except PART_ERRORS as error:
        # Decoders accept all that the scripts of this package write, so something else wrote these bytes.
        raise CorruptDataError(f"{operation}: the data in Redis do not decode: {error!r}") from error


def decode_batch(batch: Batch[T], replies: Sequence[Any]) -> list[T]:
    """Return the results of ``batch``; an error reply is raised, or returned where the batch says so."""
    read = _decode_or_return_error if batch.return_exceptions else _decode_or_raise
    return [read(operation, reply) for operation, reply in zip(batch.operations, replies, strict=True)]


def _decode_or_raise(operation: Operation[T], reply: Any) -> Any:
    if isinstance(reply, LIBRARY_ERRORS):
        raise translate(reply, str(operation)) from reply
    if isinstance(reply, EdgeRedisError):
        raise reply
    return decode(operation, reply)


def _decode_or_return_error(operation: Operation[Any], reply: Any) -> Any:
    try:
        return _decode_or_raise(operation, reply)
    except EdgeRedisError as error:
        return error


def group_by_tag(operations: Sequence[Operation[Any]]) -> list[list[int]]:
    """Return the places of operations, grouped by hash tag: one node serves a group, in its order.

    Commands without a key, such as TIME, are a group of their own, which any node serves.
    """
    groups: dict[str, list[int]] = {}
    for place, operation in enumerate(operations):
        at = 3 if operation.script else 1
        key = str(operation.args[at]) if len(operation.args) > at else ""
        groups.setdefault(key.partition("}")[0], []).append(place)
    return list(groups.values())


def merge_groups(groups: Sequence[Sequence[int]], replies: Sequence[Sequence[Any]]) -> list[Any]:
    """Return the replies of all groups in the order of the operations."""
    found = {
        place: reply
        for group, group_replies in zip(groups, replies, strict=True)
        for place, reply in zip(group, group_replies, strict=True)
    }
    return [found[place] for place in range(len(found))]
