"""An outbox that keeps splices gives the same changes as one that kept every state in full."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from edge_redis import CloudWorker, ConflictStrategy, EdgeSynchronizer
from support.servers import Backend
from support.sync import FailingStore, remote

namespaces = count()
NAMES = [f"sensor-{number:02d}" for number in range(40)]
DATA = dict.fromkeys(NAMES, 20.5)
SMALL = {"only": "a few bytes"}

NUMBERS = st.integers(0, 200)
WRITES = st.one_of(
    st.tuples(st.just("number"), st.sampled_from(NAMES), NUMBERS),
    st.tuples(st.just("many numbers"), st.integers(1, 40), NUMBERS),
    st.tuples(st.just("text"), st.sampled_from(NAMES), st.integers(0, 2000)),
    st.tuples(st.just("full"), st.sampled_from(NAMES), NUMBERS),
    st.tuples(st.just("small")),
    st.tuples(st.just("delete")),
)
STEPS = st.one_of(
    WRITES,
    WRITES,
    st.tuples(st.just("confirm"), st.integers(0, 8)),
    st.tuples(st.just("remote"), NUMBERS),
    st.tuples(st.just("restart")),
    st.tuples(st.just("push"), st.integers(0, 8), st.integers(1, 4)),
)


class Outbox:
    """A scope and its worker, and what its outbox must hold."""

    def __init__(self, client: Any, strategy: ConflictStrategy, options: dict[str, Any]) -> None:
        self.client, self.strategy, self.options = client, strategy, options
        self.namespace = f"outbox{next(namespaces)}"
        self.max_pending = options.get("max_pending", 100)
        self.pending: list[tuple[int, Any]] = []
        self.dead: list[tuple[int, Any]] = []
        self.restart()

    def restart(self) -> None:
        self.sync = EdgeSynchronizer(
            self.client, self.strategy, scope="s", namespace=self.namespace, origin="edge", **self.options
        )

    def write(self, kind: str, *args: Any) -> None:
        if kind == "delete":
            if self.sync.delete():
                self._add(None)
            return
        made: dict[str, Callable[..., tuple[dict[str, Any], bool]]] = {
            "number": lambda name, value: ({name: value}, True),
            "many numbers": lambda number, value: (dict.fromkeys(NAMES[:number], value), True),
            "text": lambda name, size: ({name: "x" * size}, True),
            "full": lambda name, value: ({**DATA, name: value}, False),
            "small": lambda: (SMALL, False),
        }
        data, is_delta = made[kind](*args)
        self._add(self.sync.update_local(data, is_delta).data)

    def _add(self, data: Any) -> None:
        self.pending.append((self.sync.local_version, data))
        del self.pending[: -self.max_pending]
        if most := self.options.get("max_pending_bytes"):
            left = self.sync.pending_count
            assert left == 1 or self.sync.pending_bytes <= most
            del self.pending[:-left]

    def confirm(self, number: int) -> None:
        if self.pending:
            version = self.pending[min(number, len(self.pending) - 1)][0]
            self.sync.confirm_sync(version)
            self.pending = [each for each in self.pending if each[0] > version]

    def apply(self, number: int) -> None:
        version = self.sync.local_version + number % 3
        self.sync.apply_remote(remote({**DATA, "remote": number}, version, origin="cloud"))

    def push(self, failing: int, batch: int) -> None:
        """Deliver a batch, of which one change fails for ever, and another batch."""
        versions = [version for version, _ in self.pending[failing : failing + 1]]
        store = FailingStore(*versions or [-1])
        worker = CloudWorker(
            self.client, store, namespace=self.namespace, batch_size=batch, max_deliveries=1, claim_idle_seconds=0.001
        )
        worker.run_once()
        worker.run_once()
        kept = [(version, data) for _, version, data, _ in store.kept]
        letters = [(each["version"], each["data"]) for each in worker.dead_letters(10_000)]
        self.dead, new = letters, letters[len(self.dead) :]
        gone = sorted([(version, data or None) for version, data in kept] + new, key=lambda each: each[0])
        assert gone == [(version, data or None) for version, data in self.pending[: len(gone)]]
        self.pending = self.pending[len(gone) :]

    def check(self) -> None:
        found = self.sync.get_pending_changes()
        assert [(each["version"], each["data"]) for each in found] == self.pending
        assert self.sync.pending_count == len(self.pending)
        if not self.pending:
            left = set(map(bytes.decode, self.client.keys(f"er:{{{self.namespace}:sync0}}:*")))
            assert not [key for key in left if ":bodies:" in key or ":pending:" in key or ":pending_bytes" in key]


def follow(client: Any, strategy: ConflictStrategy, options: dict[str, Any], steps: list[Any]) -> None:
    outbox = Outbox(client, strategy, options)
    effects: dict[str, Callable[..., None]] = {
        "confirm": outbox.confirm,
        "remote": outbox.apply,
        "restart": outbox.restart,
        "push": outbox.push,
    }
    for kind, *args in [("full", NAMES[0], 0), *steps]:
        effects[kind](*args) if kind in effects else outbox.write(kind, *args)
        outbox.check()


OPTIONS = st.sampled_from([{}, {"max_pending": 1}, {"max_pending": 2}, {"max_pending": 5}, {"max_pending_bytes": 3000}])
STRATEGIES = st.sampled_from([each for each in ConflictStrategy if each is not ConflictStrategy.LOCAL_WINS])


@pytest.mark.parametrize(("server", "examples"), [("fakeredis", 60), ("valkey", 30)], ids=["fakeredis", "valkey"])
def test_pending_changes_are_those_of_full_states(request: pytest.FixtureRequest, server: str, examples: int) -> None:
    backend = Backend("fakeredis") if server == "fakeredis" else request.getfixturevalue("valkey")

    @settings(max_examples=examples, suppress_health_check=[HealthCheck.too_slow])
    @given(STRATEGIES, OPTIONS, st.lists(STEPS, max_size=25))
    def run(strategy: ConflictStrategy, options: dict[str, Any], steps: list[Any]) -> None:
        with backend.client() as client:
            follow(client, strategy, options, steps)

    run()
