"""The options of an embedded server: checks of the arguments, and the configuration file.

The file, and not the command line, carries the options: a command line is there for every
user of the machine to read, and CONFIG REWRITE needs a file.
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
"""Every embedded server has these, a Sentinel too."""

SERVER_DEFAULTS: Final[Mapping[str, str]] = {
    "save": "",  # the append-only file is what persists; no snapshots beside it
    "appendonly": "yes",
    "maxmemory-policy": "noeviction",
}

_OURS: Final[Mapping[str, str]] = {
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


def options(config: Mapping[str, str] | None) -> dict[str, str]:
    """Return ``config`` checked, names in lower case.

    Raises:
        InvalidArgumentError: a name or value that a configuration line cannot hold, or an
            option that an argument of ``start`` decides.
        InvalidTypeError: a name or value that is no str.
    """
    checked: dict[str, str] = {}
    for name, value in validation.check_instance("config", {} if config is None else config, Mapping).items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise validation.type_error("config", {name: value}, "a mapping of str to str")
        if not _NAME.fullmatch(name):
            raise validation.value_error("config", name, "names must look like maxmemory-policy")
        if name.lower() in _OURS:
            raise InvalidArgumentError(f"config: {name} {_OURS[name.lower()]}")
        if _CONTROL.search(value):  # a new line would smuggle in another option
            raise InvalidArgumentError(f"config: the value of {name} must have no control characters")
        checked[name.lower()] = value
    return checked


def has_users(chosen: Mapping[str, str]) -> bool:
    """Return whether the options of the caller say who may connect."""
    return any(name.split()[0] in ("requirepass", "aclfile", "user") for name in chosen)


def authentication(password: str | None, *, is_sentinel: bool) -> dict[str, str]:
    """Return the options by which clients, and a replica, must say this password; none without one."""
    if not password:
        return {}
    word = quoted(password)
    return {"requirepass": word} if is_sentinel else {"requirepass": word, "masterauth": word}


def loopback(host: str) -> str:
    """Return the loopback address that ``host`` is: an embedded server is not for other machines.

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


def fsync(policy: str) -> str:
    """Return ``policy`` where it is one of the server's.

    Raises:
        InvalidArgumentError: it is not.
    """
    if policy not in ("always", "everysec", "no"):
        raise validation.value_error("appendfsync", policy, "must be 'always', 'everysec' or 'no'")
    return policy


def is_on(chosen: Mapping[str, str], name: str) -> bool:
    """Return whether the option ``name`` says yes."""
    return chosen.get(name, "no").strip().strip("\"'").lower() == "yes"


def bus_offset(chosen: Mapping[str, str]) -> int:
    """Return how far above its port the server listens for its cluster; zero where it does not."""
    if not is_on(chosen, "cluster-enabled") or "cluster-port" in chosen:
        return 0
    return _CLUSTER_BUS_OFFSET


def write(path: Path, chosen: Mapping[str, str]) -> None:
    """Write ``chosen`` as a configuration file that only this user may read (it may hold a password).

    A value is what stands after the name in such a file: words, in quotes where a word has spaces.
    """
    text = "".join(f"{name} {value if value.strip() else quoted('')}\n" for name, value in chosen.items())
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123 -- a descriptor, to have its mode from the first byte on
        os.fchmod(descriptor, 0o600)
        file.write(os.fsencode(text))
    fresh.replace(path)  # a symbolic link there is replaced, not followed


def quoted(word: str) -> str:
    """Return ``word`` as one word of a configuration file, whatever it has in it."""
    return '"' + "".join(_escaped(byte) for byte in os.fsencode(word)) + '"'


def _escaped(byte: int) -> str:
    character = chr(byte)
    if character in '"\\':
        return f"\\{character}"
    return character if " " <= character <= "~" else f"\\x{byte:02x}"
