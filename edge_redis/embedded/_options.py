"""The options of an embedded server: checks of the arguments, and the configuration file.

The options are in a file and not on the command line: every user of the machine can read a command
line, and CONFIG REWRITE needs a file.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, TypeAlias

from edge_redis._core import validation
from edge_redis.errors import InvalidArgumentError

AppendFsync: TypeAlias = Literal["always", "everysec", "no"]

DEFAULTS: Final[Mapping[str, str]] = {
    "daemonize": "no",
    "protected-mode": "yes",
}
"""Of every embedded server, a Sentinel too."""

SERVER_DEFAULTS: Final[Mapping[str, str]] = {
    "save": "",  # no snapshots: the append-only file persists the data
    "appendonly": "yes",
    "maxmemory-policy": "noeviction",
}

_RESERVED: Final[Mapping[str, str]] = {
    "appendfsync": "is the argument appendfsync=",
    "bind": "is the argument host=",
    "daemonize": "must stay as it is: the server is watched",
    "dir": "is the argument data_dir=",
    "include": "names a file that is not checked: give its options",
    "logfile": "is decided here: the log stands in the data folder",
    "port": "is the argument port=",
}
_NAME: Final = re.compile(r"[A-Za-z][\w.-]*( [^\s\"'#]+)*")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_CLUSTER_BUS_OFFSET: Final = 10_000


def check_config(config: Mapping[str, str] | None) -> dict[str, str]:
    """Return ``config`` checked, names in lower case.

    Raises:
        InvalidArgumentError: a name or value that a configuration line cannot hold, or an
            option that an argument of ``start`` sets.
        InvalidTypeError: a name or value that is no str.
    """
    checked: dict[str, str] = {}
    for name, value in validation.check_instance("config", {} if config is None else config, Mapping).items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise validation.type_error("config", {name: value}, "a mapping of str to str")
        if not _NAME.fullmatch(name):
            raise validation.value_error("config", name, "names must look like maxmemory-policy")
        if name.lower() in _RESERVED:
            raise InvalidArgumentError(f"config: {name} {_RESERVED[name.lower()]}")
        if _CONTROL.search(value):  # a line break would add another option
            raise InvalidArgumentError(f"config: the value of {name} must have no control characters")
        checked[name.lower()] = value
    return checked


def has_users(chosen: Mapping[str, str]) -> bool:
    """Return whether the caller's options decide who may connect."""
    return any(name.split()[0] in ("requirepass", "aclfile", "user") for name in chosen)


def make_authentication(password: str | None, *, is_sentinel: bool) -> dict[str, str]:
    """Return the options that require this password of clients and replicas; none without a password."""
    if not password:
        return {}
    word = quote(password)
    return {"requirepass": word} if is_sentinel else {"requirepass": word, "masterauth": word}


def check_host(host: str) -> str:
    """Return ``host`` as a loopback address: an embedded server is not for other machines.

    Raises:
        InvalidArgumentError: it is another address or name.
    """
    if validation.check_identifier("host", host) == "localhost":
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is None or not address.is_loopback:
        raise validation.value_error("host", host, "must be a loopback address, such as 127.0.0.1 or ::1")
    return host


def check_fsync(policy: str) -> str:
    """Return ``policy`` where it is a value of appendfsync.

    Raises:
        InvalidArgumentError: it is not.
    """
    if policy not in ("always", "everysec", "no"):
        raise validation.value_error("appendfsync", policy, "must be 'always', 'everysec' or 'no'")
    return policy


def is_on(chosen: Mapping[str, str], name: str) -> bool:
    """Return whether the option ``name`` is yes."""
    return chosen.get(name, "no").strip().strip("\"'").lower() == "yes"


def bus_offset(chosen: Mapping[str, str]) -> int:
    """Return how far the port of the cluster bus is above the server's port; zero without a cluster."""
    if not is_on(chosen, "cluster-enabled") or "cluster-port" in chosen:
        return 0
    return _CLUSTER_BUS_OFFSET


def write(path: Path, chosen: Mapping[str, str]) -> None:
    """Write ``chosen`` as a configuration file that only this user may read (it may hold a password).

    A value is the text after the name in such a file: words, in quotes where a word has spaces.
    """
    text = "".join(f"{name} {value if value.strip() else quote('')}\n" for name, value in chosen.items())
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123 -- a descriptor, to have its mode from the first byte on
        os.fchmod(descriptor, 0o600)
        file.write(os.fsencode(text))
    new.replace(path)  # a symbolic link there is replaced, not followed


def quote(word: str) -> str:
    """Return ``word`` as one word of a configuration file, whatever it has in it."""
    return '"' + "".join(_escape(byte) for byte in os.fsencode(word)) + '"'


def _escape(byte: int) -> str:
    character = chr(byte)
    if character in '"\\':
        return f"\\{character}"
    return character if " " <= character <= "~" else f"\\x{byte:02x}"
