"""A process loads the parts of the package that it uses, and no others."""

from __future__ import annotations

import subprocess
import sys

import pytest

import edge_redis

_PROGRAM = """
import contextlib, io, sys
import edge_redis
assert not {"redis", "asyncio", "msgpack", "typer"} & set(sys.modules), "the package alone"

from edge_redis.cli.main import main
with contextlib.redirect_stdout(io.StringIO()):
    assert main(["--help"]) == 0
assert not {"redis", "asyncio", "ssl", "sqlalchemy", "edge_redis._services"} & set(sys.modules), "the command's help"

import pytest
import edge_redis.testing
assert not {"redis", "fakeredis", "msgpack", "edge_redis._services"} & set(sys.modules), "a run of tests"

from edge_redis import EdgeCache
assert "edge_redis._services.blocking.sync" not in sys.modules, "a cache alone"
assert "edge_redis._services.aio" not in sys.modules, "a blocking service"
assert EdgeCache.__module__ == edge_redis.errors.StoreError.__module__ == "edge_redis"
assert edge_redis.aio.EdgeCache.__module__ == "edge_redis.aio"
"""


def test_a_process_loads_only_what_it_uses() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_listed_and_loads() -> None:
    assert set(edge_redis.__all__) <= set(dir(edge_redis))
    for name in edge_redis.__all__:
        assert getattr(edge_redis, name) is vars(edge_redis)[name], f"{name} is loaded once"


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'edge_redis' has no attribute 'EdgeCash'"):
        _ = edge_redis.EdgeCash  # type: ignore[attr-defined]
