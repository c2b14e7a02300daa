"""The file of signing keys that a worker verifies changes with.

A TOML file: the name of each origin, and its key or, while one key replaces another, a list of keys. A key is text, of
which the bytes in UTF-8 count, or ``hex:`` and its bytes in hexadecimal:

    till-1 = "the key of till-1"
    till-2 = ["hex:9f86d081884c7d659a2feaa0c55ad015", "the key before"]
    cloud = "the worker's own key"
"""

from __future__ import annotations

import logging
import stat
import tomllib
from pathlib import Path
from typing import Final

from edge_redis.errors import InvalidArgumentError

_HEX: Final = "hex:"
_log: Final = logging.getLogger("edge_redis")


def read_keys(path: Path | None) -> dict[str, tuple[bytes, ...]] | None:
    """Return the keys of each origin; None without a file. No error shows a key.

    Raises:
        InvalidArgumentError: the file cannot be read, or holds something other than keys.

    """
    if path is None:
        return None
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
            _log.warning("other users of this machine can read the keys in %s: chmod 600", path)
    except tomllib.TOMLDecodeError:  # whose message may show a part of a key
        raise InvalidArgumentError(f'the keys file {path} is not a TOML file of lines: origin = "key"') from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"the keys file cannot be read: {error}") from error
    return {origin: _keys_of(origin, value) for origin, value in values.items()}


def _keys_of(origin: str, value: object) -> tuple[bytes, ...]:
    found: list[object] = value if isinstance(value, list) else [value]
    words = [word for word in found if isinstance(word, str)]
    if not words or len(words) < len(found):
        raise InvalidArgumentError(f"the keys file: {origin!r} must be a key or a list of keys, as text")
    return tuple(_key(origin, word) for word in words)


def _key(origin: str, word: str) -> bytes:
    if not word.startswith(_HEX):
        return word.encode()
    try:
        return bytes.fromhex(word.removeprefix(_HEX))
    except ValueError:
        raise InvalidArgumentError(f"the keys file: a key of {origin!r} is not hexadecimal after 'hex:'") from None
