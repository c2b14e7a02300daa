"""Scripts on fakeredis: the suite's faster way to run them gives what fakeredis gives by itself."""

from __future__ import annotations

from typing import Any

import fakeredis
import pytest
import redis
from fakeredis.commands_mixins import scripting_mixin

from support import fake_lua

SCRIPTS = {
    "a table": "return {KEYS[1], ARGV[1], 3, false, {ok = 'done'}}",
    "a count that goes on": "return redis.call('INCR', KEYS[1])",
    "locals of the chunk": "local n = 0 local function add() n = n + 1 return n end return add()",
    "nothing": "local n = 1",
    "an error of a command": "redis.call('SET', KEYS[1], 'text') return redis.call('LPUSH', KEYS[1], '1')",
    "a caught error of a command": "return redis.pcall('LPUSH', 1)",
    "an error caught by Lua": "local ok, e = pcall(redis.call, 'NONE') return {ok and 1 or 0, type(e)}",
    "an error reply": "return redis.error_reply('STALE')",
    "an error of Lua": "local t = nil\nreturn t.field",
    "an error with a table": "error({err = 'MY own'})",
    "a syntax error": "return (",
    "an unknown command": "return redis.call('NONE')",
    "a new global": "leaked = 1 return 1",
    "a new global before a command": "leaked = 1 return redis.call('GET', KEYS[1])",
    "a function as a global": "function leaked() return 1 end return leaked()",
    "garbage": "local t for i = 1, 1000 do t = {tostring(i)} end collectgarbage() return t",
    "JSON": 'return cjson.encode(cjson.decode(\'{"a":[1,2,{"b":null}]}\'))',
}


def run(client: Any, source: str) -> Any:
    try:
        return client.eval(source, 1, "k", "v")
    except redis.RedisError as error:
        return type(error), str(error)


def run_all() -> dict[str, list[Any]]:
    """Return what each script replies on a server of its own, three times, with another script in between."""
    results = {}
    for name, source in SCRIPTS.items():
        with fakeredis.FakeRedis(server=fakeredis.FakeServer()) as client:
            results[name] = [run(client, each) for each in (source, "return 1", source, source)]
            results[name].append(run(client, "local n = 0 for _ in pairs(_G) do n = n + 1 end return n"))
    return results


def test_results_and_errors_are_those_of_fakeredis(monkeypatch: pytest.MonkeyPatch) -> None:
    found = run_all()
    with monkeypatch.context() as patch:
        patch.setattr(scripting_mixin, "LUA_MODULE", fake_lua._lua)
        patch.setattr(scripting_mixin, "_check_for_lua_globals", fake_lua._check_globals)
        expected = run_all()
    assert found == expected


def test_a_script_is_compiled_once() -> None:
    server = fakeredis.FakeServer()
    with fakeredis.FakeRedis(server=server) as client:
        for _ in range(3):
            client.eval("return 7", 0)
    runtime: Any = getattr(server, "_lua_runtime")  # noqa: B009 -- fakeredis makes it at the first script
    assert [code for code in runtime._compiled if b"7" in code] == [b"return 7"]
