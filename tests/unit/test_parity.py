"""Both APIs have the same names with the same signatures, documented and typed; they name their public modules."""

from __future__ import annotations

import inspect
import pickle
import typing
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import edge_redis
import edge_redis.aio
import edge_redis.types

griffe = pytest.importorskip("griffe")

MODULES = [edge_redis, edge_redis.aio]
NAMES = [name for name in edge_redis.aio.__all__ if name != "connect"]
BUNDLED = {
    "EdgeCache": edge_redis.CacheOptions,
    "HealthMonitor": edge_redis.HealthOptions,
    "EdgeMetrics": edge_redis.MetricsOptions,
    "EdgeSynchronizer": edge_redis.SynchronizerOptions,
    "CloudWorker": edge_redis.WorkerOptions,
    "HealthWatch": edge_redis.WatchOptions,
}


def public(service: type) -> dict[str, Any]:
    return {
        name: value
        for kind in reversed(service.__mro__[:-1])
        for name, value in vars(kind).items()
        if not name.startswith("_")
    }


def public_callables(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Yield every exported function and class, and each method and property of the classes."""
    for name in module.__all__:
        value = getattr(module, name)
        if isinstance(value, type) or inspect.isfunction(value):
            yield name, value
        if isinstance(value, type):
            for member, inner in public(value).items():
                function = getattr(inner, "fget", None) or getattr(inner, "func", None) or inner
                function = getattr(function, "__func__", function)
                if inspect.isfunction(function) and function.__module__.startswith("edge_redis"):
                    yield f"{name}.{member}", function


@pytest.mark.parametrize("name", NAMES)
def test_both_apis_have_the_same_names(name: str) -> None:
    blocking, awaited = getattr(edge_redis, name), getattr(edge_redis.aio, name)
    assert blocking.__name__ == awaited.__name__ == name
    assert set(public(blocking)) == set(public(awaited))


@pytest.mark.parametrize("name", NAMES)
def test_both_apis_have_the_same_constructors(name: str) -> None:
    blocking, awaited = (inspect.signature(getattr(module, name)) for module in MODULES)
    described = [
        [(each.name, each.kind, each.default) for each in signature.parameters.values()]
        for signature in (blocking, awaited)
    ]
    assert described[0] == described[1]


@pytest.mark.parametrize("name", NAMES)
def test_both_apis_have_the_same_parameters(name: str) -> None:
    blocking, awaited = public(getattr(edge_redis, name)), public(getattr(edge_redis.aio, name))
    for method in blocking:
        if callable(blocking[method]):
            signatures = [list(inspect.signature(each[method]).parameters) for each in (blocking, awaited)]
            assert signatures[0] == signatures[1], method


@pytest.mark.parametrize("module", MODULES, ids=["blocking", "asyncio"])
@pytest.mark.parametrize("name", NAMES)
def test_everything_public_is_documented(module: Any, name: str) -> None:
    service = getattr(module, name)
    assert inspect.getdoc(service)
    for method, value in public(service).items():
        assert inspect.getdoc(value), f"{name}.{method}"


@pytest.mark.parametrize("module", [*MODULES, edge_redis.types], ids=lambda module: module.__name__)
def test_type_hints_of_every_public_callable_resolve(module: ModuleType) -> None:
    for name, value in public_callables(module):
        hints = typing.get_type_hints(value)
        if "." in name:
            assert "return" in hints, name


@pytest.mark.parametrize("module", MODULES, ids=["blocking", "asyncio"])
def test_public_names_say_the_module_that_users_import_them_from(module: ModuleType) -> None:
    for name in module.__all__:
        value = getattr(module, name)
        if isinstance(value, type):
            assert (value.__module__, value.__qualname__) == (module.__name__, name)
            assert pickle.loads(pickle.dumps(value)) is value


def test_an_error_and_a_model_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(edge_redis.InvalidKeyError("the key")))
    assert (type(error), error.args) == (edge_redis.InvalidKeyError, ("the key",))
    node = edge_redis.EdgeNode("a", "A")
    assert pickle.loads(pickle.dumps(node)) == node


@pytest.mark.parametrize("module", MODULES, ids=["blocking", "asyncio"])
@pytest.mark.parametrize("name", BUNDLED)
def test_the_options_of_the_bundle_are_those_of_the_constructors(module: Any, name: str) -> None:
    constructor = getattr(module, name).__init__
    given_by_the_bundle = {"return", "client", "edge_client", "cloud", "namespace", "scope"}
    expected = {key: hint for key, hint in typing.get_type_hints(constructor).items() if key not in given_by_the_bundle}
    options = typing.get_type_hints(BUNDLED[name])
    if module is edge_redis and "confirm" in options:  # a coroutine function only with asyncio
        del options["confirm"], expected["confirm"]
    assert options == expected


@pytest.fixture(scope="module")
def package() -> Any:
    """The package as a reader of its sources alone sees it."""
    return griffe.load("edge_redis", resolve_aliases=True)


@pytest.mark.parametrize("module", MODULES, ids=["blocking", "asyncio"])
def test_a_static_reader_sees_every_public_method_with_its_documentation(module: ModuleType, package: Any) -> None:
    found = package if module is edge_redis else package["aio"]
    for name in NAMES:
        for method, value in public(getattr(module, name)).items():
            if isinstance(value, (int, str)):
                continue
            member = found[name].all_members[method]
            assert member.docstring, f"{name}.{method}"
            assert getattr(member, "annotation", None) or member.returns, f"{name}.{method}"
