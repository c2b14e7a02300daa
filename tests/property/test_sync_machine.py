"""EdgeSynchronizer against a model in plain Python, on fakeredis and on a real server."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from edge_redis import ConflictStrategy, EdgeSynchronizer, InvalidArgumentError, SyncState
from support.servers import Backend, Servers
from support.sync import remote

MAX_PENDING = 4
PAST, FUTURE = datetime(2020, 1, 1, tzinfo=UTC), datetime(2300, 1, 1, tzinfo=UTC)
DATA = st.dictionaries(st.sampled_from("abc"), st.integers(0, 2), max_size=2)
ORIGINS = st.sampled_from(["", "a", "here", "z", "cloud"])
namespaces = count()


@dataclass
class Model:
    """What the contract and the documentation say, without a server."""

    strategy: ConflictStrategy
    state: SyncState | None = None
    remote: int = 0
    newest: datetime = PAST
    pending: list[tuple[int, dict[str, Any], bool]] = field(default_factory=list)
    history: list[tuple[str, int, bool]] = field(default_factory=list)
    lost: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    seen: dict[str, tuple[int, str, datetime]] = field(default_factory=dict)
    lives: dict[str, datetime] = field(default_factory=dict)
    base: tuple[datetime, str] | None = None

    @property
    def version(self) -> int:
        return self.state.version if self.state else 0

    def note(self, state: SyncState, *, anew: bool = False) -> None:
        if not state.origin:
            return
        moment = (state.version, state.checksum, state.updated_at)
        life = self.life(state.origin)
        if anew:
            self.lives[state.origin] = state.updated_at
        if anew or (not self._was_seen(state) and not state.updated_at < life):
            self.seen[state.origin] = moment

    def life(self, origin: str) -> datetime:
        return self.lives.get(origin, datetime.min.replace(tzinfo=UTC))

    def _is_the_seen(self, state: SyncState) -> bool:
        version, checksum, at = self.seen[state.origin]
        return checksum == state.checksum and (version == state.version or at == state.updated_at)

    def begins_anew(self, state: SyncState) -> bool:
        if not state.origin or state.origin not in self.seen or self._is_the_seen(state):
            return False
        version, _, at = self.seen[state.origin]
        if not at < state.updated_at:
            return False
        latest = self.strategy is ConflictStrategy.LATEST_WINS
        return state.version < version or (state.version == version and not latest)

    def write(self, state: SyncState, *, is_delta: bool) -> None:
        """The service wrote ``state``; its clock is the one thing a model cannot foresee."""
        if self.state and self.state.origin != state.origin:
            self.base = (self.state.updated_at, self.state.checksum)
        assert state.updated_at > self.newest
        self.state, self.newest = state, state.updated_at
        self.seen[state.origin] = (state.version, state.checksum, state.updated_at)
        self.pending.append((state.version, state.data, is_delta))
        del self.pending[:-MAX_PENDING]

    def _order(self, state: SyncState) -> tuple[Any, ...]:
        origin = state.origin.encode()
        if self.strategy is ConflictStrategy.LATEST_WINS:
            return state.updated_at, origin, state.checksum
        return state.version, state.origin == "cloud", origin, state.checksum

    def outcome(self, state: SyncState) -> str:
        if self.state is None:
            return "accepted"
        if self._order(state) == self._order(self.state):
            return "same"
        if self.strategy is ConflictStrategy.LOCAL_WINS:
            return "refused"
        if self.strategy is ConflictStrategy.REMOTE_WINS and state.version == self.state.version and not state.origin:
            return "refused"
        return "accepted" if self._order(state) > self._order(self.state) else "refused"

    def _is_related(self, state: SyncState, life: datetime) -> bool:
        assert self.state is not None
        mine = self.state
        if state.origin and state.origin == mine.origin and state.version != mine.version:
            in_order = (state.version < mine.version) == (state.updated_at < mine.updated_at)
            if in_order and (state.updated_at < life) == (mine.updated_at < life):
                return True
        return (state.updated_at, state.checksum) in (self.base, (mine.updated_at, mine.checksum))

    def _was_seen(self, state: SyncState) -> bool:
        if state.origin not in self.seen:
            return False
        if self._is_the_seen(state):
            return True
        version, _, at = self.seen[state.origin]
        return state.version < version and state.updated_at < at and not state.updated_at < self.life(state.origin)

    def apply(self, state: SyncState) -> bool:
        outcome = self.outcome(state)
        anew = self.begins_anew(state)
        life = state.updated_at if anew else self.life(state.origin)
        known, own = self._was_seen(state), state.origin == "here"
        if outcome == "accepted":
            if self.state and (self.pending or self.remote < self.version) and not self._is_related(state, life):
                self.lost.append(("local", self.state.data))
            self.state = replace(state, version=max(state.version, self.version))
            self.base = (state.updated_at, state.checksum) if own else None
            self.newest = max(self.newest, state.updated_at)
        elif outcome == "same":
            assert self.state is not None
            self.state = replace(self.state, version=max(state.version, self.version))
        elif not known and (self.strategy is ConflictStrategy.LOCAL_WINS or not self._is_related(state, life)):
            self.lost.append(("remote", state.data))
        self.history.append(("pull", self.version if outcome == "accepted" else state.version, outcome == "accepted"))
        self.note(state, anew=anew)
        self.remote = max(self.remote, state.version)
        return outcome == "accepted"

    def confirm(self, version: int) -> int:
        kept = [change for change in self.pending if change[0] > version]
        removed = len(self.pending) - len(kept)
        if removed or version > self.remote:
            self.history.append(("push", version, True))
        self.pending, self.remote = kept, max(self.remote, version)
        return removed


class SyncMachine(RuleBasedStateMachine):
    backend: Backend

    @initialize(strategy=st.sampled_from([each for each in ConflictStrategy if each is not ConflictStrategy.MERGE]))
    def begin(self, strategy: ConflictStrategy) -> None:
        self.client = self.backend.client()
        self.arguments: dict[str, Any] = {"namespace": f"n{next(namespaces)}", "origin": "here"}
        self.sync = self._make(strategy)
        self.other = self._make(strategy)
        self.model = Model(strategy)

    def _make(self, strategy: ConflictStrategy) -> EdgeSynchronizer:
        return EdgeSynchronizer(self.client, strategy, MAX_PENDING, **self.arguments)

    def teardown(self) -> None:
        if hasattr(self, "client"):
            self.sync.close()
            self.other.close()
            self.client.close()

    @rule(data=DATA, is_delta=st.booleans(), by_other=st.booleans())
    def update(self, data: dict[str, int], is_delta: Any, by_other: Any) -> None:
        state = (self.other if by_other else self.sync).update_local(data, is_delta=is_delta)
        before = self.model.state.data if self.model.state else {}
        assert state.data == ({**before, **data} if is_delta else data)
        assert (state.version, state.origin) == (self.model.version + 1, "here")
        self.model.write(state, is_delta=is_delta)

    @rule(
        data=DATA,
        ahead=st.integers(-2, 3),
        origin=ORIGINS,
        when=st.sampled_from(["past", "future", "same"]),
        by=st.integers(0, 3),
    )
    def apply(self, data: dict[str, int], ahead: int, origin: str, when: str, by: int) -> None:
        base = {"past": PAST, "future": FUTURE}.get(when) or (self.model.state.updated_at if self.model.state else PAST)
        version = max(0, self.model.version + ahead)
        state = remote(data, version, origin=origin, at=base + timedelta(microseconds=by if when != "same" else 0))
        self._apply(state)

    @rule()
    def apply_the_same(self) -> None:
        if self.model.state:
            self._apply(self.model.state)

    def _apply(self, state: SyncState) -> None:
        reasserts = self.model.outcome(state) == "refused" and self.model.strategy is ConflictStrategy.LOCAL_WINS
        reasserts = reasserts and state.version >= self.model.version
        assert self.sync.apply_remote(state) is self.model.apply(state)
        if reasserts:
            asserted = self.sync.get_local_state()
            assert asserted is not None
            assert self.model.state is not None
            assert (asserted.version, asserted.data) == (state.version + 1, self.model.state.data)
            self.model.newest = max(self.model.newest, state.updated_at)
            self.model.write(asserted, is_delta=False)
            self.model.base = (state.updated_at, state.checksum)

    @rule(back=st.integers(-1, 6))
    def confirm(self, back: int) -> None:
        version = self.model.version - back
        if back < 0:
            with pytest.raises(InvalidArgumentError):
                self.sync.confirm_sync(version)
        elif version >= 0:
            assert self.sync.confirm_sync(version) == self.model.confirm(version)

    @invariant()
    def the_same_as_the_model(self) -> None:
        if not hasattr(self, "model"):
            return
        model = self.model
        assert self.sync.get_local_state() == model.state
        summary = self.sync.summary()
        assert (summary["local_version"], summary["remote_version"]) == (model.version, model.remote)
        assert summary["is_synced"] is (not model.pending and model.version == model.remote)
        pending = [(each["version"], each["data"], each["is_delta"]) for each in self.sync.get_pending_changes()]
        assert pending == model.pending
        assert summary["pending_changes"] == len(pending) <= MAX_PENDING
        events = [(event.direction, event.version, event.success) for event in self.sync.sync_history(1000)]
        assert events == model.history
        assert [(each["lost"], each["data"]) for each in self.sync.conflicts(1000)] == model.lost


@pytest.mark.parametrize("name", [pytest.param("fakeredis", marks=pytest.mark.exploration), "valkey"])
def test_a_synchronizer_does_what_the_model_does(name: str, servers: Servers) -> None:
    machine = type("SyncMachineOn" + name, (SyncMachine,), {"backend": servers.backend(name)})
    run_state_machine_as_test(machine, settings=settings(max_examples=40, stateful_step_count=25, deadline=None))
