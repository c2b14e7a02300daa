"""Targets without a server: everything that reads bytes of Redis, of a message or of an operator."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib.util import find_spec
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from redis._parsers import _AsyncRESP2Parser
from redis.exceptions import RedisError

from edge_redis import EdgeRedisError, InvalidArgumentError, InvocationRecord
from edge_redis._cache import entry, script_replies
from edge_redis._core import codec, packing
from edge_redis._core.operation import Operation
from edge_redis._health import node_record, spells, transition_entry, verdicts
from edge_redis._io import connect_url, resp
from edge_redis._io.replies import decode
from edge_redis._metrics import record_stream
from edge_redis._metrics.columns import RecordColumns
from edge_redis._site import operator_input
from edge_redis._sync import feed_wire, fields, hints, records, replies, signing, wire
from edge_redis._sync.change import Change
from edge_redis._sync.splice import apply_splice, make_splice
from edge_redis.settings import Settings
from support.fuzzing.target import Run, Target

KEYRING: Final = signing.Keyring("shop", {"edge": b"k" * 16})

VALUES: Final[tuple[Any, ...]] = (
    None, True, -1, 2**63, 2**200, 1.5, "text", b"bytes", [1, [2]], {"a": {"b": [1, 2]}, "c": None}, (1, (2, 3)),
    {1, "a"}, frozenset({(1, 2)}), datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 3, 1,
    tzinfo=ZoneInfo("Europe/Berlin")),
    date(2026, 1, 2), timedelta(1, 2, 3), Decimal("1.50"), UUID(int=5),
)  # fmt: skip

CLOCK: Final = f"{1_767_312_000_000_000:018d}"
DATA: Final = codec.canonical({"a": 1, "b": "x" * 600})
OTHER: Final = codec.canonical({"a": 2, "b": "x" * 600})


def _change(body: bytes = DATA) -> Change:
    return Change(7, CLOCK, "edge.0a1b", hashlib.sha256(body).hexdigest(), "-", body)


def _read(decoder: Callable[[Any], Any], reply: Any) -> Any:
    """Return the result of a reply as the runners return it."""
    return decode(Operation(("FUZZ",), decoder), reply)


def _attempt(*calls: Callable[[], object]) -> None:
    """Make each of the calls: an error of the package that one raises does not keep the others from being made."""
    refused: EdgeRedisError | None = None
    for call in calls:
        try:
            call()
        except EdgeRedisError as error:
            refused = error
    if refused is not None:
        raise refused


def run_codec(data: bytes) -> None:
    value = codec.decode(data)
    body = codec.canonical(value)
    assert codec.canonical(codec.decode(body)) == body


def codec_examples() -> Sequence[bytes]:
    return [*map(codec.encode, VALUES), codec.encode(list(VALUES)), codec.encode(_nest([], 100)), DATA]


def _nest(value: Any, levels: int) -> Any:
    for _ in range(levels):
        value = [value]
    return value


def run_entry(data: bytes) -> None:
    entry.decode_entry(data)
    entry.decode_body(data[entry.HEADER_BYTES :])
    entry.created_ms(data)


def entry_examples() -> Sequence[bytes]:
    header = b"0000000007" + b"1767312000000"
    bodies = [codec.encode(value) for value in VALUES]
    return [header + body for body in bodies] + [header + entry.add_computed(bodies[0], 5.0, 7)]


def run_change(data: bytes) -> None:
    """Read entries of an outbox, a document and what is made of them."""
    at = int.from_bytes(data[:2], "big") % (len(data) + 1)
    body = data[2:]

    def leased() -> None:
        lease = _read(lambda reply: replies.from_lease(reply, DATA), [b"", body[:at], body[at:]])
        for each in lease.entries:
            _attempt(lambda each=each: records.from_pending(each), lambda each=each: _use(each.change()))  # type: ignore[misc]

    def document() -> None:
        found = _read(wire.from_document, (body.split(b"|") + [b""] * 8)[:8])
        _use(found)

    def outbox() -> None:
        words = body.split(b"|")
        given = dict(zip((name.encode() for name in wire.OUTBOX_FIELDS), words, strict=False))
        _use(_read(lambda _: wire.from_outbox(words[-1], given), None))

    _attempt(leased, document, outbox)


def _use(change: Change) -> None:
    _attempt(
        change.verify,
        lambda: change.data,
        lambda: change.state,
        lambda: signing.verify(KEYRING, "s", change),
    )
    assert isinstance(change.stamp, str)
    assert isinstance(change.name, str)


def change_examples() -> Sequence[bytes]:
    change = _change()
    head = f"7-0 1 1 {wire.format_head(change)}".encode()
    splice = make_splice(DATA, OTHER) or b""
    leased = [b"%d:%b%b" % (len(head), head, DATA), b"~%d:%b%b" % (len(head), head, splice)]
    document = b"|".join((b"7", change.clock.encode(), b"edge.0a1b", change.checksum.encode(), b"-", DATA, b"", b""))
    outbox = b"|".join((DATA, change.checksum.encode(), change.clock.encode(), b"edge.0a1b", b"-", b"1", b"", b"7"))
    return [b"\xff\xff" + each for each in (*leased, document, outbox)]


def run_splice(data: bytes) -> None:
    at = int.from_bytes(data[:2], "big") % (len(data) + 1)
    base, other = data[2:][:at], data[2:][at:]
    if (made := make_splice(base * 8, other * 8)) is not None:
        assert apply_splice(base * 8, made) == other * 8
    result = apply_splice(base, other)
    assert len(result) <= len(base) + len(other)


def splice_examples() -> Sequence[bytes]:
    splice = make_splice(DATA, OTHER) or b""
    return [len(DATA).to_bytes(2, "big") + DATA + each for each in (splice, OTHER, b"10 2 3 400 8 8:abcdefghijk", b":")]


def run_feed(data: bytes) -> None:
    at = int.from_bytes(data[:2], "big") % (len(data) + 1)
    body = data[2:]
    known = _change()

    def page() -> None:
        found = _read(feed_wire.from_feed, [body[:at], b"s", body[at:], b"t", body])
        for _, state in found.states:
            if isinstance(state, feed_wire.FeedState) and (whole := state.rebuild(known)) is not None:
                _use(whole)

    def hint() -> None:
        if (found := feed_wire.from_hint(body)) is not None and (whole := found[1].rebuild(known)) is not None:
            _use(whole)
        head, _, _ = body.partition(b"\n")
        position = head.decode(errors="replace")
        hints.before(position)
        hints.is_past(position, "store:5")

    _attempt(page, hint, lambda: _read(feed_wire.from_states, [body, b""]))


def feed_examples() -> Sequence[bytes]:
    change = _change()
    head = f"7 {change.clock} {change.checksum} - - merge edge.0a1b".encode()
    splice = make_splice(DATA, OTHER) or b""
    kinds = [
        b"=" + DATA,
        b"-",
        b"~" + change.checksum.encode()[:16] + b"%d:%b" % (len(splice), splice),
        b"~" + b"0" * 16,
    ]
    states = [b"%d:%b%b" % (len(head), head, kind) for kind in kinds]
    cursor = b"store 12 0 1"
    pages = [len(cursor).to_bytes(2, "big") + cursor + state for state in (*states, b"!reason")]
    return [*pages, *(b"\0\x01" + b"1:s" + state for state in states), b"\0\x01store:7 other\n1:s" + states[0]]


def run_fields(data: bytes) -> None:
    found = fields.unpack(data)
    joined = fields.join(found, fields.unpack(FIELDS))
    assert fields.unpack(fields.pack(joined)).has_same_changes(joined)


FIELDS: Final = codec.canonical([["", ""], {"a": ["1", "edge", 1], "b": ["2", "edge"]}])


def fields_examples() -> Sequence[bytes]:
    with_plain = codec.canonical([["1", "edge", {"edge.0a": "3"}], {"a": ["1", "\x01edge.0a", [1]]}])
    return [FIELDS, with_plain, codec.canonical([["", ""], {}])]


def run_packed(data: bytes) -> None:
    for columns in (1, 2, 9):
        _read(lambda reply, columns=columns: packing.unpack_rows(reply, columns), data)  # type: ignore[misc]
    _attempt(lambda: _read(node_record.decode_nodes, data), lambda: _read(node_record.decode_snapshot, data))


def packed_examples() -> Sequence[bytes]:
    rows = [b"n1", codec.encode({"name": "n"}), b"online", b"1767312000000", b"", b"5", b"6", b"7", b"8", b"9"]
    return [b" ".join(b"%d" % len(word) for word in words) + b"\n" + b"".join(words) for words in (rows, rows[:2], [])]


def run_records(data: bytes) -> None:
    record_stream.decode_entry(data)


def records_examples() -> Sequence[bytes]:
    some = [InvocationRecord(f"f{at % 2}", "n", 1.5 * at, at % 2 == 0, error="E" * at) for at in range(4)]
    return [record_stream.encode_entry(RecordColumns.of(records)) for records in (some, some[:1])]


def run_health(data: bytes) -> None:
    lines = data.split(b"\n")
    position, words = lines[0], lines[1:] + [b""] * (len(lines) % 2 == 0)
    given = dict(zip(words[::2], words[1::2], strict=False))
    _attempt(
        lambda: _read(lambda _: transition_entry.decode_entry((position, given)), None),
        lambda: _read(lambda _: transition_entry.decode_number((position, given)), None),
        lambda: _read(lambda reply: verdicts.decode_history("n", reply), lines),
        lambda: _read(lambda reply: verdicts.decode_words(["n", "m"], reply), data),
        lambda: _read(lambda reply: spells.decode_history("n", reply), lines),
    )


def health_examples() -> Sequence[bytes]:
    transition = b"1-0\nnode\nn1\nstate\nunhealthy\nprevious\nhealthy\nat\n1767312000000\nreason\nlate\nnumber\n7"
    return [
        transition,
        b"1 5 1767312000000 2000 online where\n0m 5 1767312000000 0 offline ",
        b"15! ?7",
        b"0 1767312000000",
    ]


HAS_HIREDIS: Final = find_spec("hiredis") is not None

ERROR_OF: Final[Any] = _AsyncRESP2Parser.parse_error


_UNHASHABLE: Final = "a map whose key is a list"
"""Of hiredis, which says so before the value of the key has arrived; ``Wire`` translates its TypeError."""


def _read_all(reader: Any, parts: Sequence[bytes]) -> tuple[list[Any], str | None]:
    """Return the replies in parts, and the error that follows them."""
    found: list[Any] = []
    for part in parts:
        reader.feed(part)
        try:
            while (reply := reader.gets()) is not resp.INCOMPLETE:
                found.append(reply)
        except RedisError as error:
            return found, type(error).__name__
        except TypeError:
            if isinstance(reader, resp.PythonReader):
                raise
            return found, _UNHASHABLE
    return found, None


def run_resp(data: bytes) -> None:
    """Read replies whole and in parts; and compare with hiredis, where it is installed."""
    body = data[1:]
    cut = random.Random(data[0] if data else 0)
    places = sorted(cut.randrange(len(body) + 1) for _ in range(cut.randrange(1, 6)))
    parts = [body[start:end] for start, end in zip([0, *places], [*places, len(body)], strict=True)]
    whole = _read_all(resp.PythonReader(ERROR_OF), [body])
    assert _plain(whole) == _plain(_read_all(resp.PythonReader(ERROR_OF), parts))
    for reply in whole[0]:
        resp.count_bytes(reply)
    if HAS_HIREDIS and not _ONLY_HERE.search(body):
        theirs = _read_all(resp.make_reader(ERROR_OF), parts)
        if theirs[1] == _UNHASHABLE:
            whole = whole[0], _UNHASHABLE
        assert _plain(whole) == _plain(theirs), f"{whole} in Python, {theirs} by hiredis"


_ONLY_HERE: Final = re.compile(rb"[|!]|[*~%>][0-9]{7}")
"""hiredis returns attributes as replies, knows no long errors, and makes room for all items of an array at once."""


def _plain(found: tuple[list[Any], str | None]) -> str:
    return repr(([_plain_value(each) for each in found[0]], found[1]))


def _plain_value(value: Any) -> Any:
    if isinstance(value, Exception):
        return f"{type(value).__name__} {value}"
    if isinstance(value, list):
        return [resp.is_push(value), *map(_plain_value, value)]
    if isinstance(value, dict):
        return sorted((repr(_plain_value(key)), repr(_plain_value(item))) for key, item in value.items())
    return value


def resp_examples() -> Sequence[bytes]:
    texts = (
        b"+OK\r\n", b"-NOSCRIPT no\r\n", b":-12\r\n", b"$5\r\nhello\r\n", b"$-1\r\n", b"*2\r\n$1\r\na\r\n*1\r\n:5\r\n",
        b"*-1\r\n", b"%1\r\n+a\r\n,1.5\r\n", b"~2\r\n#t\r\n_\r\n", b">2\r\n+message\r\n+x\r\n:1\r\n",
        b"=8\r\ntxt:some\r\n",
        b"(12345678901234567890\r\n", b",inf\r\n", b"*3\r\n:1\r\n-ERR x\r\n$0\r\n\r\n",
    )  # fmt: skip
    return [b"\x07" + text for text in (*texts, b"".join(texts))]


def reply_of(data: bytes) -> Any:
    """Return the first reply in the bytes of some."""
    reader = resp.PythonReader(ERROR_OF)
    reader.feed(data)
    try:
        return reader.gets()
    except RedisError as error:
        raise InvalidArgumentError from error


DECODERS: Final[tuple[Callable[[Any], Any], ...]] = tuple(
    getattr(module, name)
    for module, prefix in ((replies, "from_"), (script_replies, "decode_"), (node_record, "decode_"))
    for name in sorted(vars(module))
    if name.startswith(prefix) and name not in {"from_pending_page", "decode_stats"}
)


def run_replies(data: bytes) -> None:
    """Give one reply of any form to every decoder of replies."""
    reply = reply_of(data[1:])
    _attempt(*(lambda decoder=decoder: _read(decoder, reply) for decoder in DECODERS))


def run_texts(data: bytes) -> None:
    """Read what operators type: URLs of servers, durations, JSON objects."""
    text = data.decode("utf-8", "surrogateescape")
    _attempt(
        lambda: connect_url.parse(text),
        lambda: operator_input.parse_duration(text),
        lambda: operator_input.parse_object("data", text),
        lambda: Settings(url=text),
    )


def text_examples() -> Sequence[bytes]:
    return [
        b"redis://user:pass@host:6379/0?socket_timeout=1&protocol=3", b"redis+cluster://a:1,b:2", b"unix:///tmp/x?db=1",
        b"redis+sentinel://:p@h:1,[::1]:2/service/0?sentinel_username=u", b"rediss://h?ssl_cert_reqs=none", b"15m",
        b"1e3d", b'{"a": [1, {"b": null}], "c": 1.5}',
    ]  # fmt: skip


def _pure(name: str, run: Run, examples: Callable[[], Sequence[bytes]], inputs: int = 150) -> Target:
    @contextmanager
    def opened() -> Iterator[Run]:
        with nullcontext(run) as made:
            yield made

    return Target(name, opened, examples, inputs)


PARSERS: Final = (
    _pure("codec", run_codec, codec_examples),
    _pure("entry", run_entry, entry_examples),
    _pure("change", run_change, change_examples),
    _pure("splice", run_splice, splice_examples),
    _pure("feed", run_feed, feed_examples),
    _pure("fields", run_fields, fields_examples),
    _pure("packed", run_packed, packed_examples),
    _pure("records", run_records, records_examples),
    _pure("health", run_health, health_examples),
    _pure("resp", run_resp, resp_examples),
    _pure("replies", run_replies, resp_examples),
    _pure("texts", run_texts, text_examples),
)
