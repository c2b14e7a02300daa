"""WAIT and WAITAOF after writes that replicas must acknowledge, on the connection of those writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from edge_redis._core.operation import Batch, Operation
from edge_redis._core.replication import Acknowledged, Replication
from edge_redis._io.clients import is_cluster
from edge_redis._io.command_sender import Args, Written
from edge_redis._io.error_mapping import LIBRARY_ERRORS
from edge_redis._io.replies import decode_batch
from edge_redis.errors import ClientConfigurationError

T = TypeVar("T")


def find_waits(client: Any, operations: Sequence[Operation[Any]]) -> list[Args]:
    """Return the commands to send after a batch; none where no operation is to be replicated.

    Raises:
        ClientConfigurationError: the client's socket_timeout is not above replication_timeout.

    """
    replication = _find_replication(operations)
    if replication is None:
        return []
    owner: Any = client.nodes_manager if is_cluster(client) else client.connection_pool
    limit = owner.connection_kwargs.get("socket_timeout")
    if limit is not None and limit <= replication.seconds:
        raise ClientConfigurationError(
            f"replication_timeout ({replication.seconds} s) must be below the client's socket_timeout ({limit} s)"
        )
    return replication.commands


def _find_replication(operations: Sequence[Operation[Any]]) -> Replication | None:
    return max((each.replication for each in operations if each.replication is not None), default=None)


def pop_acknowledgements(replies: list[Any], waits: Sequence[Args]) -> list[Any]:
    """Remove the replies to ``waits`` from the end of ``replies``, and return them."""
    if not waits:
        return []
    found = replies[-len(waits) :]
    del replies[-len(waits) :]
    return found


def add_acknowledgements(operations: Sequence[Operation[Any]], results: Sequence[Any], replies: list[Any]) -> list[Any]:
    """Return the results, those of replicated operations with what their replication lacks."""
    replication = _find_replication(operations)
    assert replication is not None, "the batch waited for replicas"
    shortfall = _describe_shortfall(replication, replies)
    return [each._replace(shortfall=shortfall) if isinstance(each, Acknowledged) else each for each in results]


def decode_written(batch: Batch[T], replies: Sequence[Any]) -> list[T]:
    """Return the results of a batch on a cluster, where each write was waited for by itself.

    One WAIT behind all would not do: if a master fails between two writes, its successor has the second one alone.
    """
    results: list[Any] = decode_batch(batch, [each.reply if isinstance(each, Written) else each for each in replies])
    for place, written in enumerate(replies):
        if isinstance(written, Written):
            results[place : place + 1] = add_acknowledgements(
                batch.operations[place : place + 1], results[place : place + 1], written.acknowledgements
            )
    return results


def _describe_shortfall(replication: Replication, replies: list[Any]) -> str:
    if replication.fsync:
        return _describe_unsynced(replication, *replies)
    acknowledged, synced = replies
    if isinstance(acknowledged, LIBRARY_ERRORS):
        return f"not replicated: the server refuses WAIT: {acknowledged}"
    if acknowledged < replication.replicas:
        found = f"{acknowledged} of {replication.replicas} replicas"
        return f"not replicated: {found} acknowledged it within {replication.seconds} s"
    # An error reply: the server is older than WAITAOF, or has no append-only file.
    if not isinstance(synced, LIBRARY_ERRORS) and synced[0] < 1:
        return f"not synced: the server's append-only file was not synced within {replication.seconds} s"
    return ""


def _describe_unsynced(replication: Replication, synced: Any) -> str:
    if isinstance(synced, LIBRARY_ERRORS):
        return f"not synced: {_explain_refusal(str(synced))}"
    local, replicas = synced
    if local < 1:
        return f"not synced: the server's append-only file was not synced within {replication.seconds} s"
    if replicas < replication.replicas:
        found = f"{replicas} of {replication.replicas} replicas"
        return f"not synced: {found} have synced it to their append-only files within {replication.seconds} s"
    return ""


def _explain_refusal(text: str) -> str:
    if "unknown command" in text.lower():
        return "the server does not know WAITAOF; Redis and Valkey do from 7.2 on"
    if "appendonly is disabled" in text:
        return "the server has no append-only file; set appendonly yes"
    return f"the server refuses WAITAOF: {text}"
