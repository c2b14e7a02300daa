"""Targets that are whole programs: the command line and the operator's page, on a fake server."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import random
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from unittest import mock
from urllib.parse import quote

import fakeredis

import edge_redis.aio
from edge_redis import EdgeNode, EdgeRedis, InvalidArgumentError, InvocationRecord
from edge_redis.cli import exit_codes
from edge_redis.cli.main import main
from edge_redis.dashboard import dashboard
from edge_redis.settings import Settings
from support.fuzzing.target import Run, Target

OPERATOR: Final = "operator-token-0123"

_GOING_ON: Final = frozenset(
    {"up", "worker", "agent", "monitor", "top", "dashboard", "bench", "serve", "completion", "doctor"}
)
"""Commands that go on until a signal, or measure; of these the arguments alone are read."""


def read_all_keys(server: fakeredis.FakeServer) -> dict[bytes, object]:
    """Return all that a fake server holds."""
    return {key: repr(value.value) for database in server.dbs.values() for key, value in database.items()}


def _fill(edge: EdgeRedis) -> None:
    edge.health.register(EdgeNode("n1", "first"))
    edge.health.check_cluster()
    edge.metrics.record(InvocationRecord("f", "n1", 1.0, success=False, error="E: x"))
    edge.metrics.flush()
    edge.cache.put("k", {"a": 1}, tags=("t",))
    edge.synchronizer("s").update_local({"a": 1})


@contextmanager
def open_commands() -> Iterator[Run]:
    """Give the run: the words of a command, a NUL between; a refused one writes nothing."""
    server = fakeredis.FakeServer()
    edge = EdgeRedis(fakeredis.FakeRedis(server=server), namespace="shop")
    _fill(edge)

    def connect(_: Any, **__: Any) -> Any:
        return fakeredis.FakeRedis(server=server)

    def run(data: bytes) -> None:
        words = [word.decode("utf-8", "surrogateescape") for word in data.split(b"\0")]
        if _GOING_ON.intersection(words):
            words.append("--help")
        before = read_all_keys(server)
        out, err = io.StringIO(), io.TextIOWrapper(io.BytesIO(), errors="backslashreplace")
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = main(words)
            except SystemExit as end:
                code = int(end.code or 0)
        if code == exit_codes.USAGE:
            assert read_all_keys(server) == before, f"{words} was refused and wrote"
            raise InvalidArgumentError("refused")

    environment = {name: value for name, value in os.environ.items() if not name.startswith("EDGE_REDIS_")}
    with mock.patch.dict(os.environ, environment, clear=True), mock.patch.object(Settings, "connect", connect):
        try:
            yield run
        finally:
            edge.close()


def command_examples() -> Sequence[bytes]:
    lines = (
        "nodes -n shop", "node n1 -n shop --json", "maintenance n1 -n shop --for 15m --reason why",
        "events -n shop --limit 5",
        "status -n shop --json", "cache stats -n shop", "cache get k -n shop", "cache put k2 5 --ttl 60 -n shop",
        "cache delete k -n shop", "cache keys -n shop --prefix k", "metrics summary -n shop --function f",
        "metrics top -n shop",
        "metrics timeline -n shop --minutes 5", "metrics forget --function f -n shop", "sync status -n shop",
        "sync scopes -n shop", "sync show s -n shop", "sync conflicts s -n shop", "sync dead-letters -n shop",
        "namespace list", "namespace drop other --yes", "acl shop", "cloud status -n shop",
        "worker -n shop --max-scopes 5",
        "up --nodes 3 --duration 5s", "agent n1 --interval 5", "monitor -n shop --timeout 30", "dashboard --port 8080",
        "--config /dev/null nodes", "nodes --url redis://u:p@h:1/0 --namespace x",
    )  # fmt: skip
    return [line.replace(" ", "\0").encode() for line in lines]


class _Page:
    """The page as an ASGI application, asked without a client that would refuse odd requests."""

    def __init__(self, server: fakeredis.FakeServer) -> None:
        self.loop = asyncio.Runner()
        services = edge_redis.aio.EdgeRedis(fakeredis.FakeAsyncRedis(server=server), namespace="shop")
        self._services = services
        self.app = dashboard(services, operators={"ann": OPERATOR}, interval_seconds=1.0, stream_seconds=0.01)
        form = self.ask("GET", "/sign-in", b"", [], b"")[2].decode()
        fields = f"csrf={self._csrf(form)}&token={OPERATOR}&next="
        kind = [(b"content-type", b"application/x-www-form-urlencoded"), (b"origin", b"http://localhost")]
        _, headers, _ = self.ask("POST", "/sign-in", b"", [*kind, *self._first_cookie], fields.encode())
        cookies = [value.split(b";")[0] for name, value in headers if name == b"set-cookie"]
        self.headers = [*kind, (b"cookie", b"; ".join([*cookies, *(value for _, value in self._first_cookie)]))]
        self.csrf = self._csrf(self.ask("GET", "/s/shop/nodes", b"", self.headers, b"")[2].decode())

    _first_cookie: Sequence[tuple[bytes, bytes]] = ()

    @staticmethod
    def _csrf(html: str) -> str:
        found = re.search(r'name="csrf" value="(\w+)"', html)
        return "" if found is None else found[1]

    def ask(
        self, method: str, path: str, query: bytes, headers: Sequence[tuple[bytes, bytes]], body: bytes
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Return status, headers and body of the response."""
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": path, "raw_path": quote(path).encode(), "query_string": query, "root_path": "",
            "headers": [(b"host", b"localhost"), *headers], "client": ("127.0.0.1", 1), "server": ("localhost", 80),
        }  # fmt: skip
        sent: list[dict[str, Any]] = []
        given = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            return given.pop() if given else {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        async def ask() -> None:
            async with asyncio.timeout(5):
                await self.app(scope, receive, send)  # type: ignore[arg-type]

        self.loop.run(ask())
        start = next(each for each in sent if each["type"] == "http.response.start")
        return start["status"], list(start["headers"]), b"".join(each.get("body", b"") for each in sent)

    def close(self) -> None:
        self.loop.run(self.app.close())
        self.loop.run(self._services.close())
        self.loop.run(self._services.client.aclose())
        self.loop.close()


_REFUSED: Final = 400
_FAILED: Final = 500


@contextmanager
def open_page() -> Iterator[Run]:
    """Give the run: method, path, query, a header and a form, a line each; a refused request writes nothing."""
    server = fakeredis.FakeServer()
    edge = EdgeRedis(fakeredis.FakeRedis(server=server), namespace="shop")
    _fill(edge)
    page = _Page(server)

    def run(data: bytes) -> None:
        method, path, query, header, form = [*data.split(b"\n", 4), b"", b"", b"", b""][:5]
        name, _, value = header.partition(b":")
        headers = page.headers if random.Random(data).random() < 0.8 else []
        given = [*headers, *([(name.lower().strip() or b"x", value.strip())] if header else [])]
        before = read_all_keys(server)
        text = path.decode("utf-8", "replace")
        verb = method.decode("latin-1") or "GET"
        status, _, _ = page.ask(verb, "/" + text.lstrip("/"), query, given, form.replace(b"CSRF", page.csrf.encode()))
        assert status < _FAILED, f"status {status}"
        if status >= _REFUSED:
            assert read_all_keys(server) == before, f"{data!r} was refused and wrote"
            raise InvalidArgumentError(f"status {status}")

    try:
        yield run
    finally:
        page.close()
        edge.close()


def page_examples() -> Sequence[bytes]:
    gets = (b"", b"s/shop/", b"s/shop/nodes", b"s/shop/functions", b"s/shop/sync", b"s/shop/events", b"static/page.css",
            b"sign-in", b"live/shop/nodes", b"s/other/nodes")  # fmt: skip
    queries = ((b"s/shop/node", b"id=n1"), (b"s/shop/function", b"name=f"), (b"s/shop/cache", b"key=k"),
    (b"s/shop/scope", b"name=s"),
               (b"s/shop/nodes", b"status=online&sort=name&page=2"), (b"s/shop/events",
               b"after=5-0&limit=7"))  # fmt: skip
    forms = (
        (b"act/shop/maintenance", b"csrf=CSRF&node=n1&duration=15m&reason=why"),
        (b"act/shop/end-maintenance", b"csrf=CSRF&node=n1"),
        (b"act/shop/replay", b"csrf=CSRF&id=1-0"),
        (b"act/shop/discard", b"csrf=CSRF&id=1-0"),
        (b"act/shop/resolve", b"csrf=CSRF&scope=s&conflict=1-0&choice=data&data={}"),
        (b"sign-in", b"csrf=CSRF&token=wrong&next=/"),
        (b"sign-out", b"csrf="),
    )
    return [
        *(b"GET\n" + path for path in gets),
        *(b"GET\n%b\n%b\naccept: text/html" % each for each in queries),
        *(b"POST\n%b\n\nx: y\n%b" % each for each in forms),
    ]


PROGRAM_TARGETS: Final = (
    Target("commands", open_commands, command_examples, 16, 2000),
    Target("page", open_page, page_examples, 40, 2000),
)
