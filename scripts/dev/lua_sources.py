"""Print every Lua script, its includes resolved, each in a function of its own: what luacheck reads."""

from importlib import resources

from edge_redis._core.script import load

for component in ("_cache", "_health", "_metrics", "_sync"):
    package = f"edge_redis.{component}"
    scripts = (path for path in resources.files(package).joinpath("lua").iterdir() if path.name.endswith(".lua"))
    for path in sorted(scripts, key=lambda path: path.name):
        script = load(package, path.name.removesuffix(".lua"))
        print(f"do local function script()\n{script.source}\nend script() end -- {script.name}")
