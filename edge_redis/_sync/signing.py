"""Who wrote a change: an HMAC-SHA256 (RFC 2104) with a key that the writer and the worker share.

A signature covers the namespace, the scope, the version, the clock, the origin's name and the checksum,
each behind its length, so that no two changes are one text. It is written as
``<version>:<clock>:<hex>`` and travels beside the change. What it does not cover lets nobody write as
another: ``base`` says what a change was made of, ``is_delta`` how it was given, the origin's life which of
two changes with the same name is a redelivery.

A LOCAL_WINS edge signs for another purpose than all others: a script at the edge writes its state
again, above the cloud's, under later versions that nobody could sign there. Only what was signed as
such a *standing* change holds for later versions and clocks than its own.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from edge_redis._sync.change import Change
from edge_redis._sync.origin import CLOUD_ORIGIN, checked_name
from edge_redis.errors import (
    EdgeRedisError,
    InvalidArgumentError,
    InvalidTypeError,
    SignatureError,
    StoreUnavailableError,
)

MIN_KEY_BYTES: Final = 16

_ONCE: Final = "edge-redis change 1"
_STANDING: Final = "edge-redis standing change 1"
_SIGNATURE: Final = re.compile(r"(\d{1,16}):(\d{18}):([0-9a-f]{64})", re.ASCII)

OneOrMoreKeys: TypeAlias = bytes | tuple[bytes, ...] | list[bytes]
Keys: TypeAlias = Mapping[str, OneOrMoreKeys] | Callable[[str], OneOrMoreKeys | None]
"""The keys of each origin, several while one is replaced by another; the first one signs."""


def checked_key(name: str, value: object) -> bytes:
    """Return a key that can be used. No error shows it.

    Raises:
        InvalidTypeError: it is no bytes.
        InvalidArgumentError: it is too short to keep anybody out.

    """
    if not isinstance(value, bytes):
        raise InvalidTypeError(f"{name} must be bytes, not {type(value).__name__}")
    if len(value) < MIN_KEY_BYTES:
        raise InvalidArgumentError(f"{name} must have at least {MIN_KEY_BYTES} bytes, has {len(value)}")
    return value


def _checked_keys(origin: str, found: object) -> tuple[bytes, ...]:
    keys = tuple(found) if isinstance(found, (tuple, list)) else (found,)
    return tuple(checked_key(f"a key of {origin!r}", key) for key in keys)


@dataclass(frozen=True, slots=True)
class _Text:
    """What is signed."""

    namespace: str
    scope: str
    version: int
    clock: str
    origin: str
    checksum: str

    def hex(self, key: bytes, purpose: str) -> str:
        parts = (purpose, self.namespace, self.scope, str(self.version), self.clock, self.origin, self.checksum)
        words = [part.encode() for part in parts]
        text = b"".join(len(word).to_bytes(4, "big") + word for word in words)
        return hmac.digest(key, text, hashlib.sha256).hex()

    def signature(self, key: bytes, purpose: str) -> str:
        return f"{self.version}:{self.clock}:{self.hex(key, purpose)}"


class Signer:
    """Signs what one origin writes in a namespace."""

    def __init__(self, namespace: str, origin: str, key: object, *, is_standing: bool) -> None:
        self._namespace = namespace
        self._origin = origin
        self._key = checked_key("signing_key", key)
        self._purpose = _STANDING if is_standing else _ONCE

    def sign(self, scope: str, version: int, clock: str, checksum: str) -> str:
        """Return the signature of a change."""
        text = _Text(self._namespace, scope, version, clock, self._origin, checksum)
        return text.signature(self._key, self._purpose)


class Keyring:
    """The keys of all who write in a namespace, and what may be believed for them."""

    def __init__(self, namespace: str, keys: Keys) -> None:
        self._namespace = namespace
        self._find: Callable[[str], OneOrMoreKeys | None]
        if isinstance(keys, Mapping):
            checked = {
                checked_name("an origin of keys", origin): _checked_keys(origin, found)
                for origin, found in keys.items()
            }
            self._find = checked.get
        elif callable(keys):
            self._find = keys
        else:
            raise InvalidTypeError(
                f"keys must be a mapping of origins to keys, or a function of an origin, not {type(keys).__name__}"
            )

    def _keys(self, origin: str) -> tuple[bytes, ...]:
        try:
            found = self._find(origin)
        except EdgeRedisError:
            raise
        except Exception as error:  # the user's function: no fault of the change, which waits
            raise StoreUnavailableError(f"the keys of {origin!r} cannot be had: {error!r}") from error
        return () if found is None else _checked_keys(origin, found)

    def check_change(self, scope: str, change: Change) -> None:
        """Raise SignatureError where a change that goes up was not signed by its origin, as it is now."""
        self._verified(scope, change, self._keys(change.name))

    def offered(self, scope: str, change: Change) -> Change:
        """Return a document as it may be offered: signed by its origin, or vouched for with the cloud's key.

        A version that rose without another state, as versions do where clocks or fields decide, is
        set back to the one that was signed.

        Raises:
            SignatureError: nobody vouches for the document.

        """
        version, moment, _ = _parts(change)
        if moment == change.clock and version < change.version:
            change = replace(change, version=version)
        self._verified(scope, change, (*self._keys(change.name), *self._keys(CLOUD_ORIGIN)))
        return change

    def is_vouched(self, scope: str, change: Change) -> bool:
        """Whether a document could be offered."""
        try:
            self.offered(scope, change)
        except SignatureError:
            return False
        return True

    def vouched(self, scope: str, change: Change) -> Change:
        """Return a change that came from the cloud, signed with the cloud's key, where its origin's does not do."""
        cloud = self._keys(CLOUD_ORIGIN)
        if self.is_vouched(scope, change) or not cloud:
            return change
        text = self._text(scope, change, change.version, change.clock)
        return replace(change, signature=text.signature(cloud[0], _ONCE))

    def _text(self, scope: str, change: Change, version: int, clock: str) -> _Text:
        return _Text(self._namespace, scope, version, clock, change.name, change.checksum)

    def _verified(self, scope: str, change: Change, keys: Sequence[bytes]) -> None:
        version, moment, given = _parts(change)
        if not keys:
            raise SignatureError(f"no key is known of {_name(change)}")
        is_itself = (version, moment) == (change.version, change.clock)
        if not is_itself and not (version < change.version and moment < change.clock):
            raise SignatureError(f"the signature of {_name(change)} is that of version {version}, not {change.version}")
        text = self._text(scope, change, version, moment)
        purposes = (_ONCE, _STANDING) if is_itself else (_STANDING,)
        if not any(hmac.compare_digest(text.hex(key, purpose), given) for key in keys for purpose in purposes):
            raise SignatureError(f"version {change.version} is not signed by {_name(change)}, or not as it is")


def _parts(change: Change) -> tuple[int, str, str]:
    if not change.signature:
        raise SignatureError(f"version {change.version} of {_name(change)} is not signed")
    found = _SIGNATURE.fullmatch(change.signature)
    if found is None:
        raise SignatureError(f"the signature of version {change.version} of {_name(change)} is none")
    return int(found[1]), found[2], found[3]


def _name(change: Change) -> str:
    return repr(change.name) if change.name else "an unnamed origin"


def verify(keyring: Keyring | None, scope: str, change: Change) -> None:
    """Raise ChecksumMismatchError or SignatureError where a change is not to be brought to the cloud."""
    change.verify()
    if keyring:
        keyring.check_change(scope, change)
