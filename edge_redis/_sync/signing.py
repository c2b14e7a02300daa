"""Signatures of changes: an HMAC-SHA256 (RFC 2104) with a key that the writer and the worker share.

A signature covers the namespace, the scope, the version, the clock, the origin's name and the checksum, each after
its length, so that no two changes give one text. It is written as ``<version>:<clock>:<hex>`` and travels beside the
change. The fields that it does not cover do not let a writer use another name: ``ancestor`` names the foreign state
that a change was made of, ``is_delta`` the form in which it was given, and the incarnation in the origin tells
redelivered changes from new ones.

A LOCAL_WINS edge signs for another purpose than all others: a script at the edge writes its state again above the
cloud's, under later versions that cannot be signed there. Only a signature for that purpose, of a *renewable* change,
holds for later versions and clocks than its own.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from edge_redis._core.error_text import describe_error
from edge_redis._sync.change import Change
from edge_redis._sync.origin import CLOUD_ORIGIN, check_origin_name
from edge_redis.errors import (
    InvalidArgumentError,
    InvalidTypeError,
    SignatureError,
    StoreUnavailableError,
)

MIN_KEY_BYTES: Final = 16

_ONCE: Final = "edge-redis change 1"
_RENEWABLE: Final = "edge-redis standing change 1"
_SIGNATURE: Final = re.compile(r"(\d{1,16}):(\d{18}):([0-9a-f]{64})", re.ASCII)

OneOrMoreKeys: TypeAlias = bytes | tuple[bytes, ...] | list[bytes]
Keys: TypeAlias = Mapping[str, OneOrMoreKeys] | Callable[[str], OneOrMoreKeys | None]
"""The keys of each origin, several while one replaces another; the first one signs."""


def check_key(name: str, value: object) -> bytes:
    """Return a key that can be used. No error shows it.

    Raises:
        InvalidTypeError: it is not bytes.
        InvalidArgumentError: it is too short.

    """
    if not isinstance(value, bytes):
        raise InvalidTypeError(f"{name} must be bytes, not {type(value).__name__}")
    if len(value) < MIN_KEY_BYTES:
        raise InvalidArgumentError(f"{name} must have at least {MIN_KEY_BYTES} bytes, has {len(value)}")
    return value


def _check_keys(origin: str, found: object) -> tuple[bytes, ...]:
    keys = tuple(found) if isinstance(found, (tuple, list)) else (found,)
    return tuple(check_key(f"a key of {origin!r}", key) for key in keys)


@dataclass(frozen=True, slots=True)
class SignedText:
    """The text that is signed."""

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
    """Signs the changes of one origin in a namespace."""

    def __init__(self, namespace: str, origin: str, key: object, *, is_renewable: bool) -> None:
        self._namespace = namespace
        self._origin = origin
        self._key = check_key("signing_key", key)
        self._purpose = _RENEWABLE if is_renewable else _ONCE

    def sign(self, scope: str, version: int, clock: str, checksum: str) -> str:
        """Return the signature of a change."""
        text = SignedText(self._namespace, scope, version, clock, self._origin, checksum)
        return text.signature(self._key, self._purpose)


class Keyring:
    """The keys of all origins of a namespace, to verify their changes and to countersign the cloud's."""

    def __init__(self, namespace: str, keys: Keys) -> None:
        self._namespace = namespace
        self._find: Callable[[str], OneOrMoreKeys | None]
        if isinstance(keys, Mapping):
            checked = {
                check_origin_name("an origin of keys", origin): _check_keys(origin, found)
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
            return () if found is None else _check_keys(origin, found)
        except StoreUnavailableError:
            raise
        except Exception as error:  # the user's function failed, not the change, which waits
            text = f"the function of keys failed for {origin!r}: {describe_error(error)}"
            raise StoreUnavailableError(text) from error

    def check_change(self, scope: str, change: Change) -> None:
        """Raise SignatureError where a pushed change is not signed by its origin, as it is now."""
        self._verify(scope, change, self._keys(change.name))

    def prepare_reoffer(self, scope: str, change: Change) -> Change:
        """Return a document as it may be offered again: signed by its origin, or countersigned with the cloud's key.

        A version that rose without another state, as versions do where clocks or fields decide, is set back to the
        signed one.

        Raises:
            SignatureError: the document is neither signed nor countersigned.

        """
        version, moment, _ = _parts(change)
        if moment == change.clock and version < change.version:
            change = replace(change, version=version)
        self._verify(scope, change, (*self._keys(change.name), *self._keys(CLOUD_ORIGIN)))
        return change

    def can_reoffer(self, scope: str, change: Change) -> bool:
        """Return whether a document may be offered again."""
        try:
            self.prepare_reoffer(scope, change)
        except SignatureError:
            return False
        return True

    def countersign(self, scope: str, change: Change) -> Change:
        """Return a change of the cloud, signed with the cloud's key unless its own signature suffices."""
        cloud = self._keys(CLOUD_ORIGIN)
        if self.can_reoffer(scope, change) or not cloud:
            return change
        text = self._text(scope, change, change.version, change.clock)
        return replace(change, signature=text.signature(cloud[0], _ONCE))

    def _text(self, scope: str, change: Change, version: int, clock: str) -> SignedText:
        return SignedText(self._namespace, scope, version, clock, change.name, change.checksum)

    def _verify(self, scope: str, change: Change, keys: Sequence[bytes]) -> None:
        version, moment, given = _parts(change)
        if not keys:
            raise SignatureError(f"there is no key of {_name(change)}")
        is_itself = (version, moment) == (change.version, change.clock)
        if not is_itself and not (version < change.version and moment < change.clock):
            raise SignatureError(f"the signature of {_name(change)} is that of version {version}, not {change.version}")
        text = self._text(scope, change, version, moment)
        purposes = (_ONCE, _RENEWABLE) if is_itself else (_RENEWABLE,)
        if not any(hmac.compare_digest(text.hex(key, purpose), given) for key in keys for purpose in purposes):
            raise SignatureError(f"version {change.version} is not signed by {_name(change)}, or not as it is")


def _parts(change: Change) -> tuple[int, str, str]:
    if not change.signature:
        raise SignatureError(f"version {change.version} of {_name(change)} is not signed")
    found = _SIGNATURE.fullmatch(change.signature)
    if found is None:
        raise SignatureError(f"the signature of version {change.version} of {_name(change)} is damaged")
    return int(found[1]), found[2], found[3]


def _name(change: Change) -> str:
    return repr(change.name) if change.name else "an unnamed origin"


def verify(keyring: Keyring | None, scope: str, change: Change) -> None:
    """Raise ChecksumMismatchError or SignatureError where a change must not be pushed to the cloud."""
    change.verify()
    if keyring:
        keyring.check_change(scope, change)
