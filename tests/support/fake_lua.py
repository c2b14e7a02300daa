"""Makes fakeredis run Lua scripts in a fraction of their time, with the same results and the same errors.

fakeredis compiles a script at each call, goes through all globals in Python at each ``redis.call``, and collects Lua's
garbage after each script: most of the time of a test. Here a runtime compiles a script once, globals are looked
through in Lua, and Lua collects its garbage when it finds it due, and after errors, which hold on to Python's frames.

Python gets to see what it saw before. A script that does not compile is given to fakeredis, whose error is raised;
where there is a global that should not be, fakeredis looks for its name, removes it and raises its error.
"""

from __future__ import annotations

from typing import Any, Final

from fakeredis.commands_mixins import scripting_mixin

_COLLECT: Final = "collectgarbage()"
_HAS_OTHER_GLOBALS: Final = """
function(expected)
    local next, globals = next, _G
    return function()
        for name in next, globals do
            if not expected[name] then
                return true
            end
        end
        return false
    end
end
"""

_lua: Final[Any] = scripting_mixin.LUA_MODULE
_check_globals: Final[Any] = getattr(scripting_mixin, "_check_for_lua_globals", None)


class Runtime(_lua.LuaRuntime):  # type: ignore[misc]  # a class of a module without types
    """A Lua runtime that keeps the scripts it has compiled, and knows which globals it should have."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self._compiled: dict[bytes, Any] = {}
        self._has_failed = False
        self._expected: set[Any] | None = None
        self._has_other_globals: Any = None

    def execute(self, code: str | bytes, *args: Any, **options: Any) -> Any:
        """Run a script, compiled at its first run."""
        if code == _COLLECT and not self._has_failed:
            return None
        if args or options or not isinstance(code, bytes):
            return super().execute(code, *args, **options)
        compiled = self._compiled.get(code)
        if compiled is None:
            try:
                compiled = self._compiled[code] = self.compile(code)
            except _lua.LuaSyntaxError:
                return super().execute(code)  # which words the error as fakeredis expects it
        self._has_failed = True
        result = compiled()
        self._has_failed = False
        return result

    def has_other_globals(self, expected: set[Any]) -> bool:
        """Return whether there is a global that is not among these."""
        if self._expected is not expected:
            self._expected = expected
            self._has_other_globals = self.eval(_HAS_OTHER_GLOBALS)(self.table_from(dict.fromkeys(expected, True)))
        return bool(self._has_other_globals())


class _Lua:
    """Lua's module with the runtime of above."""

    LuaRuntime = Runtime

    def __getattr__(self, name: str) -> Any:
        return getattr(_lua, name)


def _check_globals_fast(runtime: Any, expected: set[Any]) -> None:
    if runtime.has_other_globals(expected):
        _check_globals(runtime, expected)


def install() -> None:
    """Let every fakeredis server of this process run its scripts so; a release with other internals stays as it is."""
    if _check_globals is not None:
        module: Any = scripting_mixin
        module.LUA_MODULE, module._check_for_lua_globals = _Lua(), _check_globals_fast
