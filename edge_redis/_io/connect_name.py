"""Names connections in the server's CLIENT LIST, for users that may: the library fails for those that may not."""

from __future__ import annotations

from typing import Any

from redis.exceptions import ResponseError


def introduce(connection: Any) -> None:
    """Set up a connection that was just made as the library does, but go on where it cannot be named."""
    name, connection.client_name = connection.client_name, None
    try:
        connection.on_connect()
        connection.send_command("CLIENT", "SETNAME", name, check_health=False)
        connection.read_response()
    except ResponseError as error:
        _raise_unless_unnamed(error)
    finally:
        connection.client_name = name


async def introduce_async(connection: Any) -> None:
    """Do the same for asyncio."""
    name, connection.client_name = connection.client_name, None
    try:
        await connection.on_connect()
        await connection.send_command("CLIENT", "SETNAME", name, check_health=False)
        await connection.read_response()
    except ResponseError as error:
        _raise_unless_unnamed(error)
    finally:
        connection.client_name = name


def _raise_unless_unnamed(error: ResponseError) -> None:
    """Raise ``error`` unless it is a refusal of CLIENT: the name is of use to operators alone."""
    if "client" not in str(error).lower():
        raise error
