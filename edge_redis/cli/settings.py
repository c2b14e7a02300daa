"""Settings from a TOML file. An option on the command line wins over the environment, and that over the file.

The file is the one named by ``--config`` or ``EDGE_REDIS_CONFIG``, else
``$XDG_CONFIG_HOME/edge-redis/config.toml`` (``~/.config/edge-redis/config.toml``) when it exists:

    url = "redis://store:6379/0"      # for every command that has the option
    namespace = "shop"

    [monitor]                         # for one command
    webhook = ["https://ops.example/hook"]

    [metrics.serve]
    port = 9464
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from edge_redis.errors import InvalidArgumentError

ENVIRONMENT_VARIABLE: Final = "EDGE_REDIS_CONFIG"


def find_file(named: Path | None) -> Path | None:
    """Return the settings file; None when there is none."""
    if named is not None:
        return named
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser())
    path = folder / "edge-redis" / "config.toml"
    return path if path.is_file() else None


def read_defaults(path: Path, root: Any) -> dict[str, Any]:
    """Return the defaults that a file states, nested as the commands under ``root`` are.

    Raises:
        InvalidArgumentError: the file cannot be read, or names an option that no command has.

    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidArgumentError(f"the settings file {path} cannot be read: {error}") from error
    common = {_name(key): value for key, value in values.items() if not isinstance(value, dict)}
    used: set[str] = set()
    defaults = _defaults_of(root, values, common, used, path)
    unknown = sorted(set(common) - used)
    if unknown:
        raise InvalidArgumentError(f"{path}: no command has the option {unknown[0]!r}")
    return defaults


def _defaults_of(
    command: Any, values: Mapping[str, Any], common: Mapping[str, Any], used: set[str], path: Path
) -> dict[str, Any]:
    children: Mapping[str, Any] = getattr(command, "commands", {})
    if not children:
        return _options_of(command, values, common, used, path)
    for key, value in values.items():
        if isinstance(value, dict) and key not in children:
            raise InvalidArgumentError(f"{path}: there is no command {key!r}")
    tables = {name: value for name, value in values.items() if isinstance(value, dict)}
    return {name: _defaults_of(child, tables.get(name, {}), common, used, path) for name, child in children.items()}


def _options_of(
    command: Any, values: Mapping[str, Any], common: Mapping[str, Any], used: set[str], path: Path
) -> dict[str, Any]:
    names = {name for parameter in command.params for name in (parameter.name, *_option_names(parameter))}
    by_option = {option: parameter.name for parameter in command.params for option in _option_names(parameter)}
    own = {_name(key): value for key, value in values.items()}
    unknown = sorted(set(own) - names)
    if unknown:
        raise InvalidArgumentError(f"{path}: {command.name} has no option {unknown[0]!r}")
    found = {key: value for key, value in common.items() if key in names} | own
    used.update(key for key in common if key in names)
    multiple = {parameter.name for parameter in command.params if getattr(parameter, "multiple", False)}
    by_name = {by_option.get(key, key): value for key, value in found.items()}
    return {name: [value] if name in multiple and isinstance(value, str) else value for name, value in by_name.items()}


def _option_names(parameter: Any) -> list[str]:
    return [_name(option.lstrip("-")) for option in parameter.opts]


def _name(key: str) -> str:
    return key.replace("-", "_")
