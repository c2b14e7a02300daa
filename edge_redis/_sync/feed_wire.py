"""The format of states on their way down, as in ``lua/include/feed_state.lua``.

state     <length of head>:<head><kind><rest>
head      version clock checksum ancestor signature strategy origin, a space between each
kind      ``=``: rest is the body. ``~``: rest is <base><length of splice>:<splice>..., the splices that make the body
          of that of another state, in their order; base is the first BASE_CHARS of its checksum. ``-``: the body is
          left out
damaged   ``!`` and the reason
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from edge_redis._sync.change import Change
from edge_redis._sync.link import resp_bytes
from edge_redis._sync.splice import apply_splice
from edge_redis.errors import CorruptDataError

BASE_CHARS: Final = 16

_LEFT_OUT: Final = b"-"
_BODY: Final = b"="
_SPLICES: Final = b"~"


@dataclass(frozen=True, slots=True)
class FeedState:
    """A state of the feed: whole, as splices of another state, or without its body."""

    head: Change
    """The state; its body is empty where ``base`` is not None."""
    strategy: str
    base: str | None = None
    """The beginning of the checksum of the state that the splices were made of; "" where there are none."""
    splices: tuple[bytes, ...] = ()

    def rebuild(self, known: Change | None) -> Change | None:
        """Return the whole state, made of a known one where that is needed; None where it cannot be made of it."""
        if self.base is None:
            return self.head
        if known is None:
            return None
        if known.checksum == self.head.checksum:
            return replace(self.head, body=known.body)
        if not self.base or not known.checksum.startswith(self.base):
            return None
        body = known.body
        try:
            for splice in self.splices:
                body = apply_splice(body, splice)
        except CorruptDataError:
            return None
        return replace(self.head, body=body)


def from_hint(text: bytes) -> tuple[str, FeedState] | None:
    """Return the scope and state that a hint carries, ``<length of scope>:<scope><state>``; None of a damaged one."""
    length, _, rest = text.partition(b":")
    try:
        size = int(length)
        scope, state = rest[:size].decode(), _parse_state(rest[size:])
    except ValueError:
        return None
    return None if isinstance(state, CorruptDataError) else (scope, state)


def format_given(scope: str, state: Change) -> bytes:
    """Return a state that a hint has brought, for ``read_feed.lua`` to leave out."""
    checksum, signature = state.checksum[:BASE_CHARS], state.signature[:BASE_CHARS] or "-"
    head = f"{state.version} {state.clock} {checksum} {signature} {state.origin}".encode()
    return b"%d:%b%b" % (len(head), head, scope.encode())


@dataclass(frozen=True, slots=True)
class FeedPage:
    """A page of the feed as it came over the link."""

    cursor: str
    restarted: bool
    has_more: bool
    states: list[tuple[str, FeedState | CorruptDataError]]
    bytes: int
    """Bytes of the reply."""


def from_feed(reply: list[Any]) -> FeedPage:
    """Return a page of the feed."""
    replica_id, number, restarted, has_more = reply[0].decode(errors="replace").split()
    states = [
        (name.decode(errors="replace"), _parse(text)) for name, text in zip(reply[1::2], reply[2::2], strict=True)
    ]
    return FeedPage(f"{replica_id}:{number}", restarted == "1", has_more == "1", states, resp_bytes([*map(len, reply)]))


def from_states(reply: list[Any]) -> tuple[list[FeedState | CorruptDataError | None], int]:
    """Return the states read, None where there is none any more, and the bytes of the reply."""
    return [_parse(text) if text else None for text in reply], resp_bytes([*map(len, reply)])


def _parse(text: bytes) -> FeedState | CorruptDataError:
    try:
        return _parse_state(text)
    except ValueError as error:
        return CorruptDataError(f"a document is damaged: {error!r}")


def _parse_state(text: bytes) -> FeedState | CorruptDataError:
    if text[:1] == b"!":
        return CorruptDataError(f"a document is damaged: {text[1:].decode(errors='replace')}")
    begin = text.index(b":") + 1
    end = begin + int(text[: begin - 1])
    version, clock, checksum, ancestor, signature, strategy, origin = text[begin:end].decode().split(" ", 6)
    if not (version.isascii() and version.isdigit()):
        raise ValueError(f"{version!r} is no version")
    kind, rest = text[end : end + 1], text[end + 1 :]
    body = rest if kind == _BODY else b""
    head = Change(int(version), clock, origin, checksum, ancestor, body, signature=signature)
    if kind == _BODY:
        return FeedState(head, strategy)
    if kind == _LEFT_OUT:
        return FeedState(head, strategy, "")
    if kind != _SPLICES:
        raise ValueError(f"{kind!r} is no kind of state")
    return FeedState(head, strategy, rest[:BASE_CHARS].decode(), tuple(_split_splices(rest[BASE_CHARS:])))


def _split_splices(text: bytes) -> list[bytes]:
    splices, at = [], 0
    while at < len(text):
        begin = text.index(b":", at) + 1
        end = begin + int(text[at : begin - 1])
        if end < begin:
            raise ValueError("a splice has a negative length")
        splices.append(text[begin:end])
        at = end
    return splices
