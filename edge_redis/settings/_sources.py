"""The sources of settings: the environment, and a TOML file. Each setting has one name, which both derive from.

In a file the settings stand at the top, and a table is for one command of ``edge-redis``:

    url = "redis://store:6379/0"
    namespace = "shop"

    [monitor]
    webhook = ["https://ops.example/hook"]
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from edge_redis.errors import InvalidArgumentError

FILE_VARIABLE: Final = "EDGE_REDIS_CONFIG"

SECRETS: Final = frozenset({"password", "cloud_password"})
"""Settings that a file of settings must not hold."""

CONNECTION_NAMES: Final = (
    "ssl_ca_certs",
    "ssl_certfile",
    "ssl_keyfile",
    "socket_timeout",
    "socket_connect_timeout",
    "max_connections",
    "client_name",
)
"""Settings of connections to the edge's server, which are no options of commands."""

_OF_COMMANDS_ALONE: Final = ("keys_file", "notify", "role", "token_file", "viewer_token_file")

_NAMES: Final = (
    "url",
    "password",
    "password_file",
    "namespace",
    "heartbeat_timeout",
    "cloud_url",
    "cloud_sql",
    "cloud_password",
    "cloud_password_file",
    *CONNECTION_NAMES,
    *_OF_COMMANDS_ALONE,
)

VARIABLES: Final[Mapping[str, str]] = {name: f"EDGE_REDIS_{name.upper()}" for name in _NAMES}
"""The environment variable of each setting, those included that commands alone have."""


def find_file(environment: Mapping[str, str]) -> Path | None:
    """Return the settings file that the environment names, else the user's own; None when there is none."""
    named = environment.get(FILE_VARIABLE)
    if named:
        return Path(named)
    try:
        folder = Path(environment.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser())
        path = folder / "edge-redis" / "config.toml"
        return path if path.is_file() else None
    except (OSError, RuntimeError):  # a home that this user may not read, or no home at all
        return None


def read_file(path: Path) -> dict[str, Any]:
    """Return what a settings file holds, tables included; the names at its top have underscores.

    Raises:
        InvalidArgumentError: the file cannot be read, or holds a password.

    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidArgumentError(f"the settings file {path} cannot be read: {error}") from error
    found = {key if isinstance(value, dict) else to_name(key): value for key, value in values.items()}
    for name in sorted(SECRETS & found.keys()):
        option = name.replace("_", "-")
        raise InvalidArgumentError(
            f"{path}: {option} must not stand in the settings file: name a file with {option}-file, "
            f"or use the variable {VARIABLES[name]}"
        )
    return found


def to_name(key: str) -> str:
    """Return the name of a setting that a file spells with hyphens."""
    return key.replace("-", "_")


def select_settings(values: Mapping[str, Any], known: frozenset[str], path: Path) -> dict[str, Any]:
    """Return the settings of an application in a file, without tables and without options of commands.

    Raises:
        InvalidArgumentError: the file has an unknown setting.

    """
    named = {name: value for name, value in values.items() if not isinstance(value, dict)}
    unknown = sorted(named.keys() - known - set(_OF_COMMANDS_ALONE))
    if unknown:
        raise InvalidArgumentError(
            f"{path}: there is no setting {unknown[0]!r}; an option of one command stands in that command's table"
        )
    return {name: value for name, value in named.items() if name in known}


def read_environment(environment: Mapping[str, str], known: frozenset[str]) -> dict[str, str]:
    """Return the settings in the environment; an empty variable counts as one that is not set."""
    found = {name: environment.get(VARIABLES[name]) for name in known}
    return {name: value for name, value in found.items() if value}


def merge(*sources: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of several sources, of which a later one wins over those before it; None is no value.

    A password file wins over the variable that holds the password itself, as in the command line, and an argument (the
    last source) over both. A cloud is named by a URL or by a database, so that either replaces the other.
    """
    merged: dict[str, Any] = {}
    for source in sources:
        given = {name: value for name, value in source.items() if value is not None}
        for name, other in (("cloud_url", "cloud_sql"), ("cloud_sql", "cloud_url")):
            if name in given:
                merged.pop(other, None)
        merged |= given
    for name in SECRETS:
        in_file, last = f"{name}_file", sources[-1]
        if name in merged and in_file in merged and not (last.get(name) and last.get(in_file)):
            del merged[in_file if last.get(name) else name]
    return merged
