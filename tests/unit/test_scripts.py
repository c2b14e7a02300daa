"""Every Lua file keeps the rules of the house: a header that is a contract, and no global."""

import re
from importlib import resources
from pathlib import Path

import fakeredis
import pytest

from edge_redis._core import script as scripts
from edge_redis._core.operation import identity

ROOMS = ("_cache", "_health", "_metrics", "_sync")
PACKAGE = Path(str(resources.files("edge_redis")))
FILES = [path for room in ROOMS for path in sorted((PACKAGE / room / "lua").glob("*.lua"))]
HEADER = re.compile(r"(?:--.*\n)+")


def names() -> list[str]:
    return [f"{path.parent.parent.name}/{path.stem}" for path in FILES]


@pytest.fixture(params=FILES, ids=names())
def source(request: pytest.FixtureRequest) -> str:
    return request.param.read_text("utf-8")


def test_there_are_scripts_in_every_room() -> None:
    assert {path.parent.parent.name for path in FILES} == set(ROOMS)


def test_the_header_says_what_it_must(source: str) -> None:
    found = HEADER.match(source)
    assert found is not None, "a script begins with its header"
    header = found[0]
    for field in ("Reply", "Invariant", "Repeat"):
        assert re.search(rf"^-- {field}: \S", header, re.MULTILINE), f"{field}: is missing"
    assert re.search(r"^-- Repeat: (idempotent|remembered)", header, re.MULTILINE)


def test_parameters_are_numbered_from_one_without_gaps(source: str) -> None:
    for kind in ("KEYS", "ARGV"):
        indexes = [int(index) for index in re.findall(rf"^-- {kind}\[(\d+)", source, re.MULTILINE)]
        assert indexes == list(range(1, len(indexes) + 1)), kind


def test_every_parameter_used_is_declared(source: str) -> None:
    body = HEADER.sub("", source, count=1)
    for kind in ("KEYS", "ARGV"):
        declared = {int(index) for index in re.findall(rf"^-- {kind}\[(\d+)", source, re.MULTILINE)}
        is_open = re.search(rf"^-- {kind}\[\d+\.\.\]", source, re.MULTILINE) is not None
        used = {int(index) for index in re.findall(rf"{kind}\[(\d+)\]", body)}
        assert used <= declared or is_open, f"{kind}: {used - declared} not in the header"


def test_only_the_commands_of_all_servers(source: str) -> None:
    for word in ("cmsgpack", "struct.", "bit.", "KEYS *", "'KEYS'", "'SCAN'", "FLUSHDB", "loadstring", "redis.sha1hex"):
        assert word not in source


def test_includes_are_resolved() -> None:
    for path in FILES:
        loaded = scripts.load(f"edge_redis.{path.parent.parent.name}", path.stem)
        assert "-- include:" not in loaded.source
        assert loaded.sha == fakeredis.FakeRedis().script_load(loaded.source)


def test_a_call_against_the_header_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "somewhere" / "lua"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / "one.lua").write_text("-- One.\n-- KEYS[1] a\n-- ARGV[1] x\n-- ARGV[2..] more\nreturn #ARGV\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    one = scripts.load("somewhere", "one")
    assert fakeredis.FakeRedis().eval(one.source, 1, "{t}:k", 1, 2, 3) == 3
    assert one(["{t}:k"], [1], identity).args[:3] == ("EVALSHA", one.sha, 1)
    with pytest.raises(AssertionError, match="called with 0 keys and 1 arguments"):
        one([], [1], identity)
    with pytest.raises(AssertionError, match="called with 1 keys and 0 arguments"):
        one(["{t}:k"], [], identity)
