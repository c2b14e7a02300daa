"""Print every Lua script, its includes resolved, each in a function of its own: what luacheck reads."""

from importlib import resources

from edge_redis.core.script import load

for room in ("cache", "health", "metrics", "state"):
    package = f"edge_redis.{room}"
    for path in sorted(resources.files(package).joinpath("lua").iterdir(), key=lambda path: path.name):
        script = load(package, path.name.removesuffix(".lua"))
        print(f"do local function script()\n{script.source}\nend script() end -- {script.name}")
