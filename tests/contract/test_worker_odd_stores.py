"""Stores of the user's own that raise or return something that no store should."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from conftest import Maker

from edge_redis import StoreReplyError, StoreUnavailableError
from edge_redis.cloudstores import Change, Feed, encode_data
from support.sync import FailingStore

pytestmark = pytest.mark.parametrize("backend", ["fakeredis"], indirect=True)

_BODY = encode_data({"from": "cloud"})
GOOD = Change(5, f"{9:018d}", "cloud\x01id", hashlib.sha256(_BODY).hexdigest(), "", _BODY)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "edge_redis")


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __repr__(self) -> str:
        raise RuntimeError("no text")


class MuteOSError(OSError):
    __str__ = MuteError.__str__
    __repr__ = MuteError.__repr__


class FeedStore(FailingStore):
    """A cloud with a feed of the test's own."""

    def __init__(self, feed: Callable[[], Any]) -> None:
        super().__init__(0)
        self._feed = feed

    def changes_since(self, cursor: Any, limit: Any) -> Any:
        return self._feed()


@pytest.mark.parametrize(
    ("error", "text"),
    [(MuteError(), "MuteError"), (ValueError("\ud800"), "ValueError: \\ud800")],
    ids=["mute", "broken"],
)
def test_a_change_whose_error_has_no_text_is_given_up_like_others(make: Maker, error: Any, text: str) -> None:
    make("EdgeSynchronizer", scope="bad").update_local({"n": 1})
    store = FailingStore(1, error=error)
    worker = make("CloudWorker", store, max_deliveries=2)
    good = make("EdgeSynchronizer", scope="good")
    for number in range(4):
        good.update_local({"n": number})
        worker.run_once()
    letter = worker.dead_letters()[0]
    assert (letter["scope"], letter["error"]) == ("bad", text)
    assert worker.replay_dead_letters() == 0


def test_an_outage_without_a_text_is_an_outage(make: Maker) -> None:
    make("EdgeSynchronizer", scope="room").update_local({"n": 1})
    worker = make("CloudWorker", FailingStore(error=MuteOSError()))
    with pytest.raises(StoreUnavailableError, match="MuteOSError"):
        worker.run_once()


def _raise(error: BaseException) -> Any:
    raise error


@pytest.mark.parametrize(
    "feed",
    [
        lambda: None,
        lambda: ("x:1", []),
        lambda: Feed(None, []),  # type: ignore[arg-type] # what a user may return
        lambda: Feed(b"x:1", []),  # type: ignore[arg-type]
        lambda: Feed("\ud800:1", []),
        lambda: Feed("x:1", None),  # type: ignore[arg-type]
        lambda: Feed("x:1", ["a"]),  # type: ignore[list-item]
        lambda: Feed("x:1", [], strategies=None),  # type: ignore[arg-type]
        lambda: Feed("x:1", [], damaged=None),  # type: ignore[arg-type]
        lambda: _raise(MuteError()),
    ],
    ids=["none", "tuple", "no cursor", "bytes", "broken", "no changes", "no pair", "strategies", "damaged", "mute"],
)
def test_a_page_that_is_none_is_an_error_that_run_waits_out_while_changes_go_up(
    make: Maker, feed: Callable[[], Any]
) -> None:
    make("EdgeSynchronizer", scope="room").update_local({"n": 1})
    store = FeedStore(feed)
    worker = make("CloudWorker", store)
    for _ in range(2):
        with pytest.raises(StoreReplyError, match="the cloud store"):
            worker.run_once()
    assert [scope for scope, *_ in store.kept] == ["room"]


@pytest.mark.parametrize(
    "change",
    [
        None,
        replace(GOOD, version="5"),  # type: ignore[arg-type] # what a user may return
        replace(GOOD, version=-1),
        replace(GOOD, version=True),
        replace(GOOD, clock=None),  # type: ignore[arg-type]
        replace(GOOD, origin=None),  # type: ignore[arg-type]
        replace(GOOD, origin="\ud800"),
        replace(GOOD, checksum=None),  # type: ignore[arg-type]
        replace(GOOD, ancestor="a b"),
        replace(GOOD, signature=" s"),
        replace(GOOD, body=None),  # type: ignore[arg-type]
        replace(GOOD, body="text"),  # type: ignore[arg-type]
    ],
    ids=[
        "none", "version text", "version below zero", "version bool", "no clock", "no origin", "broken origin",
        "no checksum", "two ancestors", "space", "no body", "body text",
    ],
)  # fmt: skip
def test_a_state_that_is_none_is_recorded_and_holds_up_no_other(make: Maker, change: Any) -> None:
    worker = make("CloudWorker", FeedStore(lambda: Feed("x:1", [("bad", change), ("good", GOOD)])))
    worker.run_once()
    assert make("EdgeSynchronizer", scope="good").get_local_state().data == {"from": "cloud"}
    bad = make("EdgeSynchronizer", scope="bad")
    assert bad.get_local_state() is None
    assert [event.success for event in bad.sync_history()] == [False]
    assert worker.run_once() == 0


@pytest.mark.parametrize("scope", [None, 1, b"room", "", "\ud800", "r" * 1025], ids=repr)
def test_a_scope_that_cannot_be_one_is_left_out(make: Maker, client: Any, scope: Any) -> None:
    damaged = [(scope, "lost")]
    worker = make("CloudWorker", FeedStore(lambda: Feed("x:1", [(scope, GOOD), ("good", GOOD)], damaged=damaged)))
    assert worker.run_once() == 1
    assert client.hkeys("er:{default:sync0}:scopes") == [b"good"]
