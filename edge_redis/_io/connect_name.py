"""Names connections in the server's CLIENT LIST, where the user may run CLIENT: without that right redis-py fails."""

from __future__ import annotations

from typing import Any

from redis.exceptions import ResponseError

from edge_redis._io.handshake import without_health_check


def name_connection(connection: Any) -> None:
    """Set up a new connection as redis-py does, but ignore a refusal of its name."""
    name, connection.client_name = connection.client_name, None
    try:
        with without_health_check(connection):
            connection.on_connect()
            if name is None:  # the connection was lost during ``on_connect``, and made again inside of it
                return
            connection.send_command("CLIENT", "SETNAME", name, check_health=False)
            connection.read_response()
    except ResponseError as error:
        _raise_unless_unnamed(error)
    finally:
        connection.client_name = name


async def name_connection_async(connection: Any) -> None:
    """``name_connection`` for asyncio."""
    name, connection.client_name = connection.client_name, None
    try:
        with without_health_check(connection):
            await connection.on_connect()
            if name is None:  # see name_connection
                return
            await connection.send_command("CLIENT", "SETNAME", name, check_health=False)
            await connection.read_response()
    except ResponseError as error:
        _raise_unless_unnamed(error)
    finally:
        connection.client_name = name


def _raise_unless_unnamed(error: ResponseError) -> None:
    """Raise ``error`` unless the server refused CLIENT: only operators use the name."""
    if "client" not in str(error).lower():
        raise error
