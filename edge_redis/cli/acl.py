"""edge-redis acl: the users of a site's processes, with the rights that each needs, as an ACL file."""

from __future__ import annotations

import hashlib
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from edge_redis.cli import exit_codes, options
from edge_redis.errors import InvalidArgumentError

if TYPE_CHECKING:
    from edge_redis._io.roles import Side


class Server(StrEnum):
    """The server that the users are for."""

    EDGE = "edge"
    CLOUD = "cloud"
    BOTH = "both"


_SIDES: Final[dict[Server, tuple[Side, ...]]] = {
    Server.EDGE: ("edge",),
    Server.CLOUD: ("cloud",),
    Server.BOTH: ("edge", "cloud"),
}


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("acl")(acl)


def acl(
    server: Annotated[Server, typer.Option(help="What the server is: the edge's, the cloud's or both.")] = Server.EDGE,
    namespace: options.Namespace = "default",
    passwords: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="A file for each role holds its password; a role without one is off."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write here, for the server's option aclfile. Default: print.")
    ] = None,
) -> int:
    """Print an ACL file: a user for each role of a namespace (edge, worker, monitor, dashboard, exporter, operator).

    Each may use the keys and commands that its processes need, and nothing else. Passwords are written as SHA-256. The
    default user is off; the user probe may run PING, for health checks.
    """
    from edge_redis._io.roles import ROLES, acl_lines

    found = {} if passwords is None else _hash_passwords(passwords, [role.name for role in ROLES])
    text = "".join(f"{line}\n" for line in acl_lines(namespace, _SIDES[server], found))
    if output is None:
        print(text, end="")
        return exit_codes.OK
    temporary = output.with_name(f".{output.name}.new")
    temporary.write_text(text)
    os.replace(temporary, output)  # noqa: PTH105 -- a server never reads half a file
    return exit_codes.OK


def _hash_passwords(folder: Path, roles: list[str]) -> dict[str, str]:
    if not folder.is_dir():
        raise InvalidArgumentError(f"--passwords: there is no folder {folder}")
    found = {}
    for role in roles:
        path = folder / role
        if path.is_file():
            found[role] = _hash(path)
    return found


def _hash(path: Path) -> str:
    password = path.read_bytes().rstrip(b"\r\n")
    if not password:
        raise InvalidArgumentError(f"the password file {path} is empty")
    return hashlib.sha256(password).hexdigest()
