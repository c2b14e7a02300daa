"""Moves the scopes of an edge to another number of shards (``_core/resharding.py``).

- Before the record names the new shards, each gets an id of the lineage of an old one, and its cursors: so that it is
  taken neither for an edge that lost its data nor for a clone, and reads nothing of the cloud's feed twice.
- Scopes are copied with their outboxes and the leases on these.
- With the end of copying, the cursors of the new shard go back to those of the closed one. A worker that does not know
  yet that its scopes are here would move them past states that these have not had: its cursors are refused
  (``save_cursor.lua``).
- A reader that finds nothing in an old shard asks whether it is closed, and reads the new one then. So what a reader
  finds is never older than what was written before it began.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from edge_redis._core.gather import gather
from edge_redis._core.operation import Argument, Batch, Operation, command
from edge_redis._core.reply_values import decode_text, or_empty
from edge_redis._core.resharding import Claim, ShardChange, check_closed, remove_keys
from edge_redis._core.script import load
from edge_redis._core.shard_record import ShardRecord
from edge_redis._sync.config import strategy_of
from edge_redis._sync.edge_keys import count_shards, make_edge_keys
from edge_redis._sync.keys import SyncKeys
from edge_redis._sync.origin import RUN, lineage_of
from edge_redis._sync.scope_copies import ScopeCopies, read_purge_watermark, scan
from edge_redis.errors import InvalidArgumentError
from edge_redis.models import ConflictStrategy

_PREPARE: Final = load(__package__, "prepare_shard")
_RECEIVE_LETTER: Final = load(__package__, "receive_letter")

_SCOPES_A_PAGE: Final = 256
_LETTERS_A_PAGE: Final = 16

_OWN_KEYS: Final = ("scopes", "pending_bytes", "work", "patterns", "dead", "totals", "gc_watermark", "replica_id")
"""Keys of a shard as a whole, which are removed when it was moved; beside these are those of each digest."""

Words: TypeAlias = list[Argument]


class SyncResharding(ShardChange[SyncKeys]):
    """The change of the number of shards of a namespace's edge."""

    units = "the scopes of the edge"

    def __init__(self, namespace: str) -> None:
        super().__init__(make_edge_keys(namespace, count_shards(namespace)))
        self._wake = SyncKeys(namespace, "sync").wake
        self._before: Sequence[Mapping[str, bytes]] = ()

    async def prepare(self, record: ShardRecord, begun: ShardRecord) -> None:
        """Give the new shards ids and cursors.

        Raises:
            InvalidArgumentError: scopes with LOCAL_WINS and without an origin would lose the right to write.

        """
        await self._check_origins(record, begun.latest)
        await self._prepare(record, begun)

    async def look_at(self, new: Sequence[SyncKeys]) -> None:
        """Read the cursors of the new shards, which may be past those of one that is closed later."""
        self._before = await gather([_read_cursors(keys) for keys in new])

    async def move(self, old: SyncKeys, new: Sequence[SyncKeys], claim: Claim, *, is_copied: bool) -> None:
        """Copy everything to the new shards that do not have it yet, and remove it."""
        move = _ShardMove(old, new, claim, self._before)
        if not is_copied:
            await move.copy()
        await move.forget()

    async def on_moved(self) -> None:
        """Wake the workers."""
        await command(int, "PUBLISH", self._wake, "")

    async def _check_origins(self, record: ShardRecord, shards: int) -> None:
        """Refuse to join old shards where a LOCAL_WINS scope has no origin but the id of its shard."""
        if shards % record.shards == 0:
            return  # a new shard has the scopes of one old shard, and its lineage
        for keys in self.shards.at(record):
            position = -1
            while position != 0:
                position, page = await scan(keys.scopes, max(position, 0))
                nameless = next((scope for scope, settings in page.items() if _is_nameless_authority(settings)), None)
                if nameless is not None:
                    raise InvalidArgumentError(
                        f"{nameless.decode(errors='replace')!r} is LOCAL_WINS and written without origin=, so that the"
                        f" cloud knows its writer by the id of the shard: write it with an origin, or choose a multiple"
                        f" of {record.shards} shards"
                    )

    async def _prepare(self, record: ShardRecord, begun: ShardRecord) -> None:
        """Give each new shard an id and cursors, unless it has them; nobody uses it yet."""
        old, new = self.shards.at(record), self.shards.of(begun.latest, begun.next_generation)
        now: int = await command(lambda time: int(time[0]) * 1_000_000 + int(time[1]), "TIME")
        ids = await Batch([command(decode_text, "GET", keys.replica_id) for keys in old])
        cursors = await gather([_read_cursors(keys) for keys in old])
        calls: list[Operation[int]] = []
        for number, keys in enumerate(new):
            at = number % len(old)
            run = f"{lineage_of(ids[at])}{RUN}{secrets.token_hex(4)}-{now:016d}" if ids[at] else ""
            words: Words = [run, *(word for digest, cursor in cursors[at].items() for word in (digest, cursor))]
            calls.append(_PREPARE([keys.received], words, int))
        await Batch(calls)


class _ShardMove:
    """The copying of one closed shard."""

    def __init__(
        self, old: SyncKeys, new: Sequence[SyncKeys], claim: Claim, before: Sequence[Mapping[str, bytes]]
    ) -> None:
        self._old = old
        self._new = new
        self._before = before
        self._claim = claim
        self._copies = ScopeCopies(old, new, claim)

    async def copy(self) -> None:
        """Copy everything."""
        await self._copy_scopes()
        await self._copies.copy_calls()
        await self._copy_letters()
        await self._finish()

    async def _copy_scopes(self) -> None:
        position = -1
        while position != 0:
            position, page = await scan(self._old.scopes, max(position, 0), _SCOPES_A_PAGE)
            await self._copies.copy_scopes(page)

    async def _copy_letters(self) -> None:
        start = "-"
        while page := await command(list[Any], "XRANGE", self._old.dead_letters, start, "+", "COUNT", _LETTERS_A_PAGE):
            for entry_id, fields in page:
                keys = self._copies.target_of(fields.get(b"scope", b""))
                words: Words = [*self._claim, entry_id, *(word for pair in fields.items() for word in pair)]
                await _RECEIVE_LETTER([keys.received, keys.dead_letters], words, int)
            start = f"({page[-1][0].decode()}"

    async def _finish(self) -> None:
        """Give each new shard what the old one has of all its scopes, the counts to the first one."""
        await check_closed(self._old, self._claim)
        cursors = await _read_cursors(self._old)
        shared, totals = await self._read_shared(cursors), await self._read_totals()
        present = await gather([_read_cursors(keys) for keys in self._new])
        for number, keys in enumerate(self._new):
            words: Words = [*shared, *(totals if number == 0 else ())]
            for digest in {**cursors, **present[number]}:
                words += ("cursor", digest, _find_cursor(cursors, digest, self._before[number], present[number]))
            await self._copies.finish(keys, words)

    async def _read_shared(self, digests: Iterable[str]) -> Words:
        old = self._old
        words: Words = []
        for name, value in (await command(dict[Any, Any], "HGETALL", old.patterns)).items():
            words += ("patterns", name, value)
        words += await read_purge_watermark(old)
        for digest in digests:
            if await command(int, "EXISTS", _with_digest(old.reoffer_of_all, digest)):
                words += ("reoffer", digest, "")
        return words

    async def _read_totals(self) -> Words:
        found = await command(dict[Any, Any], "HGETALL", self._old.totals)
        return [word for name, amount in found.items() if amount.isdigit() for word in ("total", name, amount)]

    async def forget(self) -> None:
        """Remove from the old shard what was copied; it stays closed."""
        old, position = self._old, -1
        while position != 0:
            position, page = await scan(old.scopes, max(position, 0), _SCOPES_A_PAGE)
            await self._copies.forget([*page])
        digests = await _read_cursors(old)
        keys = [f"{old.tag}:{name}" for name in (*_OWN_KEYS, "server", "clone", "received")]
        keys += [_with_digest(key, digest) for key in (old.cursor_of_all, old.reoffer_of_all) for digest in digests]
        await remove_keys(old, self._claim, [*keys, old.cursors])


def _is_nameless_authority(settings: bytes) -> bool:
    """Return whether a scope with these settings is LOCAL_WINS and its writers have no name."""
    text = settings.decode(errors="replace")
    is_written = not text.startswith("?")
    return is_written and text.endswith(" ") and strategy_of(text) is ConflictStrategy.LOCAL_WINS


def _find_cursor(
    old: Mapping[str, bytes], digest: str, before: Mapping[str, bytes], present: Mapping[str, bytes]
) -> bytes:
    """Return a cursor that is past no state that scopes of either shard have not had; "" where none is known.

    Cursors only go forward and cannot be compared. The closed shard's is not past the new one's if that one had it
    already before the shard was closed.
    """
    cursor = old.get(digest, b"")
    return cursor if cursor in (before.get(digest, b""), present.get(digest, b"")) else b""


async def _read_cursors(keys: SyncKeys) -> dict[str, bytes]:
    """Return the cursors of a shard by the digests of the patterns that they are of, "" for all scopes."""
    digests = ["", *sorted(await command(_decode_all, "SMEMBERS", keys.cursors))]
    found = await Batch([command(or_empty, "GET", _with_digest(keys.cursor_of_all, digest)) for digest in digests])
    return dict(zip(digests, found, strict=True))


def _with_digest(key: str, digest: str) -> str:
    return f"{key}:{digest}" if digest else key


def _decode_all(reply: Any) -> list[str]:
    return [each.decode(errors="replace") for each in reply]
