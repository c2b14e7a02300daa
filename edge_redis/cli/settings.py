"""Defaults of options from the settings file. An option wins over the environment, and that over the file.

What the file states at its top is for every command that has the option, and a table for one command; a table within a
table for one command of a group. Which file it is, and how it is read, ``edge_redis.settings`` decides.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final

from edge_redis.errors import InvalidArgumentError
from edge_redis.settings._sources import CONNECTION_NAMES, find_file, read_file, to_name

_file: Final[ContextVar[Path | None]] = ContextVar("edge_redis_settings_file", default=None)


def choose_file(named: Path | None) -> Path | None:
    """Return the settings file for this command, and keep it for ``file_in_use``; None when there is none."""
    path = find_file(os.environ) if named is None else named
    _file.set(path)
    return path


def file_in_use() -> Path | None:
    """Return the settings file of the command that runs."""
    return _file.get()


def read_defaults(path: Path, root: Any) -> dict[str, Any]:
    """Return the defaults that a file states, nested as the commands under ``root`` are.

    Raises:
        InvalidArgumentError: the file cannot be read, holds a password, or names an option that no command has.

    """
    values = read_file(path)
    common = {key: value for key, value in values.items() if not isinstance(value, dict)}
    used: set[str] = set(CONNECTION_NAMES)
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
    own = {to_name(key): value for key, value in values.items()}
    unknown = sorted(set(own) - names)
    if unknown:
        raise InvalidArgumentError(f"{path}: {command.name} has no option {unknown[0]!r}")
    found = {key: value for key, value in common.items() if key in names} | own
    used.update(key for key in common if key in names)
    multiple = {parameter.name for parameter in command.params if getattr(parameter, "multiple", False)}
    by_name = {by_option.get(key, key): value for key, value in found.items()}
    return {name: [value] if name in multiple and isinstance(value, str) else value for name, value in by_name.items()}


def _option_names(parameter: Any) -> list[str]:
    return [to_name(option.lstrip("-")) for option in parameter.opts]
