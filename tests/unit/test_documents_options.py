"""The option tables of the reference agree with the signatures of the public classes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

import edge_redis
import edge_redis.aio
from edge_redis.cloudstores.sql import SqlCloudStore
from edge_redis.exporters.opentelemetry import EdgeExporter
from edge_redis.exporters.prometheus import EdgeCollector, Endpoint
from edge_redis.probes import HttpProbe, MetadataAddress, TcpProbe, TlsProbe
from edge_redis.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "options.md"
REMEDY = "run scripts/dev/generate_options.py"

_TABLE = re.compile(r"^### (\S+)\n\n((?:\|.*\n)+)", re.MULTILINE)
_ROW = re.compile(r"^\| `(\w+)` \| `(.*?)` \| (.*?) \| (.*?) \| (.+?) \|$", re.MULTILINE)
_CELLS = {name: _ROW.findall(table) for name, table in _TABLE.findall(PAGE.read_text())}

_ELSEWHERE: dict[str, Callable[..., Any]] = {
    "EdgeCollector": EdgeCollector,
    "EdgeExporter": EdgeExporter,
    "Endpoint": Endpoint,
    "HttpProbe": HttpProbe,
    "MetadataAddress": MetadataAddress,
    "Settings": Settings,
    "SqlCloudStore": SqlCloudStore,
    "TcpProbe": TcpProbe,
    "TlsProbe": TlsProbe,
    "embedded.start": edge_redis.embedded.start,
}
CLASSES = [name for name in edge_redis.__all__ if inspect.isclass(getattr(edge_redis, name))]
SERVICES = sorted(
    {"NearCache", "TypeCodec", "FlapThresholds", "WebhookSink", "ExecSink"} | ({*edge_redis.aio.__all__} & {*CLASSES})
)


def _documented(name: str) -> Callable[..., Any]:
    return _ELSEWHERE.get(name) or getattr(edge_redis, name)


def _type_text(name: str, annotation: Any) -> str:
    """Return an annotation as text, the values of a ``Literal`` in place of its name."""
    text = getattr(annotation, "__forward_arg__", annotation)
    text = text if isinstance(text, str) else inspect.formatannotation(text)
    text = re.sub(r"\b(collections\.abc|typing)\.", "", text)  # of annotations that are resolved
    documented: Any = _documented(name)
    aliases = getattr(documented, "__globals__", None) or getattr(documented.__init__, "__globals__", {})

    def values(word: re.Match[str]) -> str:
        alias = aliases.get(word[0])
        return " ".join(map(str, get_args(alias))) if get_origin(alias) is Literal else word[0]

    return re.sub(r"\w+", values, text)


def _names(text: str) -> list[str]:
    return [word for word in re.findall(r"\w+", text) if word != "or"]


def _ways_to_write(default: Any) -> set[str]:
    if default is inspect.Parameter.empty:
        return {"required", "none"}
    member = {f"{type(default).__name__}.{default.name}"} if isinstance(default, Enum) else set()
    thousands = {f"{default:_}"} if type(default) is int else set()
    return {repr(default), str(default), f'"{default}"', *thousands, *member}


@pytest.mark.parametrize("name", SERVICES)
def test_every_public_class_with_options_has_a_table(name: str) -> None:
    assert name in _CELLS, REMEDY


@pytest.mark.parametrize("name", sorted(_CELLS))
def test_a_table_names_the_options_of_the_signature_in_their_order(name: str) -> None:
    assert [cells[0] for cells in _CELLS[name]] == list(inspect.signature(_documented(name)).parameters), REMEDY


@pytest.mark.parametrize("name", sorted({*_CELLS} & {*edge_redis.aio.__all__}))
def test_the_asyncio_classes_have_the_same_options(name: str) -> None:
    assert [cells[0] for cells in _CELLS[name]] == list(inspect.signature(getattr(edge_redis.aio, name)).parameters)


@pytest.mark.parametrize("name", sorted(_CELLS))
def test_a_table_gives_the_types_and_defaults_of_the_signature(name: str) -> None:
    parameters = inspect.signature(_documented(name)).parameters
    for option, kind, default, _, _ in _CELLS[name]:
        assert _names(kind) == _names(_type_text(name, parameters[option].annotation)), f"{option}: {REMEDY}"
        assert default.strip("`") in _ways_to_write(parameters[option].default), f"{option}: {REMEDY}"


@pytest.mark.parametrize("name", sorted(_CELLS))
def test_every_number_has_a_unit_and_every_option_a_meaning(name: str) -> None:
    for option, kind, _, unit, meaning in _CELLS[name]:
        assert meaning.strip(), option
        assert unit.strip() or not re.search(r"\b(int|float)\b", kind), option
