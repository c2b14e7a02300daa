"""Every Lua file keeps its rules: a header that is a contract, includes that say what they need, and no global."""

import re
from importlib import resources
from pathlib import Path

import fakeredis
import pytest
from redis.exceptions import ResponseError

from edge_redis._core import script as scripts
from edge_redis._core.operation import identity
from support.lua_source import check_parameters, find_names, needs_of, strip_comments
from support.reply_shapes import EXEMPT, find_reply_line, parse_reply_shape

PACKAGES = ("_core", "_cache", "_health", "_metrics", "_sync")
ROOT = Path(str(resources.files("edge_redis")))
INCLUDES = [
    *ROOT.glob("_*/lua/include/*.lua"),
    *(ROOT / "_core/lua" / f"{each}.lua" for each in ("clock", "idempotency", "moved", "packing")),
]
FILES = [
    path for package in PACKAGES for path in sorted((ROOT / package / "lua").glob("*.lua")) if path not in INCLUDES
]
HEADER = re.compile(r"(?:--.*\n)+")
INCLUDE_LINE = re.compile(r"^-- include: (\w+)$", re.MULTILINE)


def name_of(path: Path) -> str:
    return f"{path.parent.parent.name.removeprefix('_')}/{path.stem}"


@pytest.fixture(params=FILES, ids=[name_of(path) for path in FILES])
def file(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.fixture
def source(file: Path) -> str:
    return file.read_text("utf-8")


@pytest.fixture
def script(file: Path) -> scripts.Script:
    return scripts.load(f"edge_redis.{file.parent.parent.name}", file.stem)


def test_every_package_has_scripts() -> None:
    assert {path.parent.parent.name for path in FILES} == set(PACKAGES)


def test_the_header_has_all_fields(source: str) -> None:
    found = HEADER.match(source)
    assert found is not None, "a script begins with its header"
    for field in ("Reply", "Invariant", "Repeat"):
        assert re.search(rf"^-- {field}: \S", found[0], re.MULTILINE), f"{field}: is missing"
    assert re.search(r"^-- Repeat: (idempotent|remembered)", found[0], re.MULTILINE)


def test_the_reply_has_a_shape_that_can_be_checked(file: Path, source: str) -> None:
    if name_of(file) in EXEMPT:
        pytest.xfail("its header states no shape yet")
    parse_reply_shape(find_reply_line(source))


def test_parameters_are_numbered_from_one_without_gaps(source: str) -> None:
    for kind in ("KEYS", "ARGV"):
        indexes = [int(index) for index in re.findall(rf"^-- {kind}\[(\d+)", source, re.MULTILINE)]
        assert indexes == list(range(1, len(indexes) + 1)), kind


@pytest.mark.parametrize("kind", ["KEYS", "ARGV"])
def test_the_declared_parameters_are_used_and_no_others(source: str, script: scripts.Script, kind: str) -> None:
    found = HEADER.match(source)
    assert found is not None
    body = HEADER.sub("", script.source, count=1)
    assert check_parameters(kind, found[0], body) == []


def test_a_script_uses_no_name_that_it_does_not_declare(script: scripts.Script) -> None:
    _, free = find_names(script.source)
    assert free == set()


@pytest.mark.parametrize("include", INCLUDES, ids=lambda path: f"{path.parent.parent.parent.name}/{path.stem}")
def test_an_include_declares_what_it_needs(include: Path) -> None:
    text = include.read_text("utf-8")
    _, free = find_names(text)
    parameters = {f"{kind}[{index}]" for kind, index in re.findall(r"(KEYS|ARGV)\[(\d+)\]", strip_comments(text))}
    assert needs_of(text) == free | parameters


def test_what_an_include_needs_stands_above_it(file: Path, source: str) -> None:
    package = f"edge_redis.{file.parent.parent.name}"
    above = ""
    for piece in INCLUDE_LINE.split(source):
        if not re.fullmatch(r"\w+", piece):
            above += piece
            continue
        include = scripts.read_include(package, piece)
        declared, _ = find_names(above)
        needed = {need for need in needs_of(include) if "[" not in need}
        assert needed <= declared, f"{piece} needs {needed - declared}, which stands nowhere above it"
        above += include


def test_only_the_commands_of_all_servers(source: str) -> None:
    for word in ("cmsgpack", "struct.", "bit.", "KEYS *", "'KEYS'", "'SCAN'", "FLUSHDB", "loadstring", "redis.sha1hex"):
        assert word not in source


def test_includes_are_resolved(script: scripts.Script) -> None:
    assert "-- include:" not in script.source
    assert script.sha == fakeredis.FakeRedis().script_load(script.source)


MOVABLE = [path for path in FILES if path.parent.parent.name in {"_health", "_sync"}]
WRITING = [
    each
    for each in (scripts.load(f"edge_redis.{path.parent.parent.name}", path.stem) for path in MOVABLE)
    if each.layout_version and "\n-- Moved: allowed" not in each.source
]


@pytest.mark.parametrize("script", WRITING, ids=lambda script: script.name)
def test_a_script_writes_nothing_to_a_shard_that_was_moved(script: scripts.Script) -> None:
    server = fakeredis.FakeRedis()
    server.set("er:{a:b12.0.0}:moved", "")
    keys = [f"er:{{a:b12.0.0}}:key{number}" for number in range(max(1, script.keys[0]))]
    with pytest.raises(ResponseError, match=r"^ERMOVED"):
        server.eval(script.source, len(keys), *keys, *["1"] * script.args[0])
    assert server.keys() == [b"er:{a:b12.0.0}:moved"]


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
