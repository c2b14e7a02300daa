"""Takes the handlers of library errors away, one at a time: cells of the fault matrix must then be wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

from redis import exceptions as theirs

from edge_redis._io import error_mapping
from support.fault_matrix import Cell, Run
from support.server_faults import FAULTS, FaultySite

OPERATIONS: Final = (
    ("EdgeCache", "get"),
    ("EdgeCache", "put"),
    ("EdgeCache", "get_or_compute"),
    ("HealthMonitor", "heartbeat"),
    ("EdgeMetrics", "summary"),
    ("EdgeSynchronizer", "update_local"),
)
"""Some of each kind: a read, a script, several steps, a batch."""


@dataclass(frozen=True)
class Mutation:
    """A handler, how it is taken away, and a fault whose cells are wrong without it."""

    handler: str
    remove: Callable[[], AbstractContextManager[None]]
    fault: str


@contextlib.contextmanager
def _replaced(name: str, value: Any) -> Iterator[None]:
    before = getattr(error_mapping, name)
    setattr(error_mapping, name, value)
    try:
        yield
    finally:
        setattr(error_mapping, name, before)


@contextlib.contextmanager
def _without(code: str | None, kind: type[Exception] | None) -> Iterator[None]:
    codes = {name: error for name, error in error_mapping.CODES.items() if name != code}
    classes = tuple(each for each in error_mapping._CLASSES if each[0] is not kind)
    with _replaced("CODES", codes), _replaced("_CLASSES", classes):
        yield


def _without_text(start: str) -> AbstractContextManager[None]:
    texts = tuple(each for each in error_mapping._REFUSED_IN_A_SCRIPT if not each.startswith(start))
    return _replaced("_REFUSED_IN_A_SCRIPT", texts)


def _handler(fault: str, code: str | None = None, kind: type[Exception] | None = None) -> Mutation:
    names = [f"code `{code}`"] if code else []
    if kind is not None:
        names.append(f"class `{kind.__name__}`" if kind.__module__ == "builtins" else f"class `redis.{kind.__name__}`")
    return Mutation(", ".join(names), lambda: _without(code, kind), fault)


MUTATIONS: Final = (
    _handler("READONLY", "READONLY", theirs.ReadOnlyError),
    _handler("NOREPLICAS", "NOREPLICAS"),
    _handler("MASTERDOWN", "MASTERDOWN", theirs.MasterDownError),
    _handler("MISCONF", "MISCONF"),
    _handler("OOM", "OOM", theirs.OutOfMemoryError),
    _handler("BUSY", "BUSY"),
    _handler("LOADING", "LOADING", theirs.BusyLoadingError),
    _handler("CLUSTERDOWN", "CLUSTERDOWN", theirs.ClusterDownError),
    _handler("TRYAGAIN", "TRYAGAIN", theirs.TryAgainError),
    _handler("NOAUTH", "NOAUTH", theirs.AuthenticationError),
    _handler("WRONGPASS", "WRONGPASS", theirs.AuthenticationError),
    _handler("NOPERM", "NOPERM", theirs.NoPermissionError),
    _handler("WRONGTYPE", "WRONGTYPE"),
    _handler("SIGSTOP", None, theirs.TimeoutError),
    _handler("SIGKILL", None, theirs.ConnectionError),
    Mutation("text `ACL failure in script`", lambda: _without_text("ACL"), "script refused (Valkey)"),
    Mutation("text `The user executing the script can't`", lambda: _without_text("The"), "script refused (Redis)"),
)
"""Where redis-py has a class for a code, either is enough: which of them an error has depends on its release."""


def run_mutation(site: FaultySite, mutation: Mutation) -> list[Cell]:
    """Return the cells that are wrong without a handler."""
    fault = next(each for each in FAULTS if each.name == mutation.fault)
    with mutation.remove():
        cells = Run(site, OPERATIONS).perform([fault])
    return [cell for cell in cells if cell.problems]
