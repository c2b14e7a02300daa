"""Both APIs have the same names with the same signatures; no method lacks its documentation."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import edge_redis
import edge_redis.aio

NAMES = [name for name in edge_redis.aio.__all__ if name != "connect"]


def public(service: type) -> dict[str, Any]:
    return {
        name: value
        for kind in reversed(service.__mro__[:-1])
        for name, value in vars(kind).items()
        if not name.startswith("_")
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_same_names(name: str) -> None:
    blocking, awaited = getattr(edge_redis, name), getattr(edge_redis.aio, name)
    assert blocking.__name__ == awaited.__name__ == name
    assert set(public(blocking)) == set(public(awaited))


@pytest.mark.parametrize("name", NAMES)
def test_the_same_constructor(name: str) -> None:
    blocking, awaited = (inspect.signature(getattr(module, name)) for module in (edge_redis, edge_redis.aio))
    described = [
        [(each.name, each.kind, each.default) for each in signature.parameters.values()]
        for signature in (blocking, awaited)
    ]
    assert described[0] == described[1]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_parameters(name: str) -> None:
    blocking, awaited = public(getattr(edge_redis, name)), public(getattr(edge_redis.aio, name))
    for method in blocking:
        if callable(blocking[method]):
            signatures = [list(inspect.signature(each[method]).parameters) for each in (blocking, awaited)]
            assert signatures[0] == signatures[1], method


@pytest.mark.parametrize("module", [edge_redis, edge_redis.aio], ids=["blocking", "awaited"])
@pytest.mark.parametrize("name", NAMES)
def test_everything_public_is_documented(module: Any, name: str) -> None:
    service = getattr(module, name)
    assert inspect.getdoc(service)
    for method, value in public(service).items():
        assert inspect.getdoc(value), f"{name}.{method}"


def test_help_shows_the_result_and_not_the_steps() -> None:
    assert str(inspect.signature(edge_redis.EdgeCache.delete)).endswith("-> 'bool'")
    for name in NAMES:
        for method, value in public(getattr(edge_redis, name)).items():
            if callable(value) and not isinstance(value, (classmethod, staticmethod)):
                shown = str(inspect.signature(value).return_annotation)
                assert not shown.startswith(("Operation[", "Flow[", "Steps[")), f"{name}.{method}: {shown}"
