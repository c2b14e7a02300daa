"""Runs operations of services during faults, and finds what is not as stated."""

from __future__ import annotations

import contextlib
import itertools
import re
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from edge_redis import connect, errors
from edge_redis.aio import connect as connect_async
from support.deadline import eventually
from support.portal import Portal
from support.server_faults import NONE, PROMPT, Fault, FaultySite, Link
from support.service_operations import SERVICES, Scene

APIS: Final = ("blocking", "asyncio")

NOTHING_WRITTEN: Final = (
    errors.StoreReadOnlyError,
    errors.StoreLoadingError,
    errors.StoreOutOfMemoryError,
    errors.StoreRefusedError,
    errors.StoreReplyError,
)
"""Errors whose documentation says that nothing was written."""

ABOUT_LOST_DATA: Final = (errors.InvalidArgumentError, errors.StoreRefusedError)
"""Errors of operations that name what is not there."""

_AT_ONCE: Final = 16
_WAITING_AT_ONCE: Final = 200
"""Operations that only wait cost no processor."""
_MARK: Final = re.compile(r"mark\d+x")
_numbers: Final = itertools.count()


@dataclass
class Cell:
    """What one operation of one API did during one fault."""

    fault: Fault
    service: str
    operation: str
    api: str
    outcome: str = ""
    """"returns", or the name of the error."""
    seconds: float = 0.0
    error: BaseException | None = None
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.fault.name}: {self.service}.{self.operation} ({self.api}): {self.outcome}"


@dataclass(frozen=True)
class Effect:
    """What shows an operation's effect, without and with it."""

    before: str
    after: str
    result: str
    """The shape of the operation's result."""
    is_readable: bool
    """Whether the service then reads what carries its mark."""


class Run:
    """Runs operations on a site, fault by fault."""

    def __init__(self, site: FaultySite, operations: Iterable[tuple[str, str]], apis: Iterable[str] = APIS) -> None:
        self._site = site
        self._operations = list(operations)
        self._apis = list(apis)
        self._effects: dict[tuple[str, str, str], Effect] = {}

    def perform_without(self) -> list[Cell]:
        """Return the cells of no fault, which show what each operation changes."""
        return [cell for api in self._apis for cell in self._perform_one(NONE, api)]

    def perform(self, faults: Iterable[Fault]) -> list[Cell]:
        """Return the cells of these faults."""
        if not self._effects:
            self.perform_without()
        return [cell for fault in faults for api in self._apis for cell in self._perform_one(fault, api)]

    def _perform_one(self, fault: Fault, api: str) -> list[Cell]:
        cells = [Cell(fault, *operation, api) for operation in self._operations]
        self._site.command("FLUSHALL")  # drop_namespace goes through the keys of all namespaces
        with contextlib.ExitStack() as stack, ThreadPoolExecutor(_AT_ONCE) as pool:
            healthy = stack.enter_context(self._site.server.client(max_connections=200))
            scenes = [stack.enter_context(self._scene(cell, healthy)) for cell in cells]
            before = list(pool.map(self._prepare, cells, scenes))
            only_waits = fault.seconds > PROMPT and fault.link != "TLS"  # to begin TLS costs processor
            calling = stack.enter_context(ThreadPoolExecutor(_WAITING_AT_ONCE)) if only_waits else pool
            with fault.begin(self._site):
                results = list(calling.map(self._call, cells, scenes))
            checks = zip(cells, scenes, before, results, strict=True)
            list(pool.map(lambda check: self._check(*check), checks))
        return cells

    @contextlib.contextmanager
    def _scene(self, cell: Cell, healthy: Any) -> Iterator[Scene]:
        number = next(_numbers)
        portal = Portal() if cell.api == "asyncio" else None
        client = self._connect(cell.fault.link, cell.fault, is_async=portal is not None)
        direct = self._connect("direct", cell.fault, is_async=portal is not None)
        scene = Scene(cell.service, f"n{number:06}", f"mark{number:06}x", cell.api, client, direct, healthy, portal)
        try:
            yield scene
        finally:
            with contextlib.suppress(errors.EdgeRedisError), contextlib.ExitStack() as stack:
                if portal:
                    stack.callback(portal.close)
                    stack.callback(lambda: portal.run(direct.aclose()))
                    stack.callback(lambda: portal.run(client.aclose()))
                else:
                    stack.callback(direct.close)
                    stack.callback(client.close)
                if scene.service is not None:
                    stack.callback(scene.service.close)
            scene.stack.close()

    def _connect(self, link: Link, fault: Fault, *, is_async: bool) -> Any:
        options: dict[str, Any] = {
            "socket_timeout": fault.timeout_seconds,
            "socket_connect_timeout": fault.timeout_seconds,
        }
        return (connect_async if is_async else connect)(self._site.url(link), **options)

    def _prepare(self, cell: Cell, scene: Scene) -> str:
        """Prepare a namespace, and connect the service; return what shows the operation's effect."""
        service = SERVICES[cell.service]
        service.prepare(scene)
        scene.service = service.make(scene)
        service.use(scene.service, scene)
        # A run without faults has shown what is there before; to observe a worker is to let it carry on.
        return _observe(scene) if cell.fault is NONE and not service.is_eventual else ""

    def _call(self, cell: Cell, scene: Scene) -> Any:
        began = time.monotonic()
        result = None
        try:
            result = SERVICES[cell.service].operations[cell.operation](scene.service, scene)
            cell.outcome = "returns"
        except BaseException as error:  # noqa: BLE001 -- the outcome, whatever it is
            cell.error, cell.outcome = error, type(error).__name__
        cell.seconds = time.monotonic() - began
        return result

    def _check(self, cell: Cell, scene: Scene, before: str, result: Any) -> None:
        self._check_outcome(cell, scene, result)
        try:
            used = _use(scene)
            if cell.service == "EdgeMetrics":
                scene.service.flush()
            after = _observe(scene)
        except Exception as error:  # noqa: BLE001 -- a finding
            cell.problems.append(f"does not work again: {error!r}")
            return
        self._check_marks(cell, scene, used)
        self._check_effect(cell, Effect(before, after, _shape(result), scene.mark in repr(used)))

    def _check_outcome(self, cell: Cell, scene: Scene, result: Any) -> None:
        fault, error = cell.fault, cell.error
        if cell.seconds > fault.seconds:
            cell.problems.append(f"takes {cell.seconds:.1f} s, more than {fault.seconds:g} s")
        is_stated = error is None or type(error) is fault.error
        if not is_stated and not (isinstance(error, ABOUT_LOST_DATA) and not fault.keeps_data):
            stated = fault.error.__name__ if fault.error else "no error"
            cell.problems.append(f"raises {error!r} instead of {stated}")
        if error is not None and str(error).count("\n"):
            cell.problems.append("has a message of several lines")
        self._check_marks(cell, scene, result)

    def _check_marks(self, cell: Cell, scene: Scene, result: Any) -> None:
        strange = set(_MARK.findall(repr(result))) - {scene.mark}
        if strange:
            cell.problems.append(f"returns what another caller wrote: {strange}")

    def _check_effect(self, cell: Cell, found: Effect) -> None:
        """Compare what is there now to what is there without the operation, and with it."""
        key = (cell.service, cell.operation, cell.api)
        if cell.fault is NONE:
            self._effects[key] = found
        elif cell.fault.keeps_data and cell.operation not in cell.fault.without_effect:
            cell.problems += _differences(cell, self._effects[key], found)


def _differences(cell: Cell, effect: Effect, found: Effect) -> Iterator[str]:
    """Yield how the effect of an operation during a fault differs from those that it may have."""
    service = SERVICES[cell.service]
    if effect.is_readable and not found.is_readable:
        yield "the service does not read what it should afterwards"
    is_whole = cell.error is None and not service.is_fail_open and cell.operation not in service.varying
    if is_whole and found.result != effect.result:
        yield f"returns {found.result} instead of {effect.result}"
    allowed = _allowed(cell, effect)
    if not service.has_steps and found.after not in allowed:
        yield f"left {found.after}; {' or '.join(sorted(allowed))} was expected"


def _allowed(cell: Cell, effect: Effect) -> set[str]:
    """Return what may be there after an operation during a fault."""
    service = SERVICES[cell.service]
    if service.is_fail_open:
        return {effect.before, effect.after}
    if cell.error is None or service.is_eventual:
        return {effect.after}
    is_kept = cell.operation in service.buffered
    return {effect.before} if isinstance(cell.error, NOTHING_WRITTEN) and not is_kept else {effect.before, effect.after}


def _observe(scene: Scene) -> str:
    return repr(SERVICES[scene.service_name].observe(scene)).replace(scene.mark, "mark")


def _use(scene: Scene) -> Any:
    """Use a service after the fault. One that answers without the server goes on to do so for a while."""
    service = SERVICES[scene.service_name]
    if not service.is_fail_open:
        return service.use(scene.service, scene)
    return eventually(lambda: service.use(scene.service, scene), every=0.05)


def _shape(result: Any) -> str:
    """Return what a result has in common with that of the same call in another namespace."""
    if isinstance(result, (bool, int, type(None))) or (isinstance(result, str) and _MARK.match(result)):
        return _MARK.sub("mark", repr(result))
    return f"{type(result).__name__} of {len(result)}" if isinstance(result, (list, dict)) else type(result).__name__
