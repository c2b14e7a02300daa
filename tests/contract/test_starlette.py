"""The services, the health endpoint and the response cache inside a Starlette or FastAPI application."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import fakeredis
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from edge_redis import (
    ClientConfigurationError,
    EdgeNode,
    EdgeNodeStatus,
    EdgeRedis,
    InvalidArgumentError,
    RedisCloudStore,
    aio,
    connect_async,
)
from edge_redis.integrations.starlette import EdgeLifespan, ResponseCache, cache_headers, health_endpoint
from support.deadline import eventually

NAMESPACE = "web"


@pytest.fixture
def server() -> fakeredis.FakeServer:
    return fakeredis.FakeServer()


@pytest.fixture
def edge(server: fakeredis.FakeServer) -> Iterator[EdgeRedis]:
    """The services of another process."""
    with EdgeRedis(fakeredis.FakeRedis(server=server), namespace=NAMESPACE) as made:
        yield made


def lifespan(server: fakeredis.FakeServer, **options: Any) -> EdgeLifespan:
    return EdgeLifespan(client=lambda: fakeredis.FakeAsyncRedis(server=server), namespace=NAMESPACE, **options)


# The lifespan


@pytest.mark.parametrize("framework", [Starlette, FastAPI])
def test_endpoints_find_the_services_in_the_state(
    framework: type[Starlette], server: fakeredis.FakeServer, edge: EdgeRedis
) -> None:
    async def count(request: Request) -> Response:
        found: aio.EdgeRedis = request.state.edge
        assert request.app.state.edge is found
        return JSONResponse(await found.cache.incr("requests"))

    app = framework(lifespan=lifespan(server))
    app.add_route("/", count)
    with TestClient(app) as client:
        assert [client.get("/").json() for _ in range(2)] == [1, 2]
    assert edge.cache.get("requests") == 2


def test_the_node_sends_heartbeats_while_the_application_runs(server: fakeredis.FakeServer, edge: EdgeRedis) -> None:
    node = EdgeNode("web-1", "Web 1")
    with TestClient(Starlette(lifespan=lifespan(server, node=node, heartbeat_seconds=0.01))):
        first = edge.health.get_node("web-1")
        assert first is not None
        node.status = EdgeNodeStatus.DEGRADED
        eventually(lambda: [each.status for each in edge.health.nodes()] == [EdgeNodeStatus.DEGRADED])


def test_worker_watch_and_relays_work_inside_the_application(server: fakeredis.FakeServer, edge: EdgeRedis) -> None:
    received: list[str] = []
    cloud = fakeredis.FakeServer()
    office = RedisCloudStore(fakeredis.FakeRedis(server=cloud), namespace=NAMESPACE)
    edge.health.register(EdgeNode("till", "Till"))
    made = lifespan(
        server,
        cloud=fakeredis.FakeAsyncRedis(server=cloud),
        watch={"heartbeat_timeout_seconds": 0.2, "interval_seconds": 0.05},
        relays={"test": lambda change: received.append(change.state)},
    )
    with TestClient(Starlette(lifespan=made)):
        edge.synchronizer("settings").update_local({"tax": 19})
        eventually(lambda: office.get("settings") is not None)
        eventually(lambda: "unhealthy" in received)


def test_further_services_and_a_lifespan_of_the_users_run_inside(server: fakeredis.FakeServer) -> None:
    events: list[str] = []

    class Service:
        async def start(self) -> None:
            events.append("start")

        async def close(self) -> None:
            events.append("close")

    @contextlib.asynccontextmanager
    async def own(app: Starlette) -> AsyncIterator[dict[str, object]]:
        assert isinstance(app.state.edge, aio.EdgeRedis)
        events.append("enter")
        yield {"answer": 42}
        events.append("leave")

    async def answer(request: Request) -> Response:
        return JSONResponse(request.state.answer)

    app = Starlette(
        routes=[Route("/", answer)], lifespan=lifespan(server, services=lambda _: [Service()], lifespan=own)
    )
    with TestClient(app) as client:
        assert client.get("/").json() == 42
    assert events == ["start", "enter", "leave", "close"]


def test_an_application_starts_and_ends_while_the_server_cannot_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    app = Starlette(
        routes=[Route("/health", health_endpoint())],
        lifespan=EdgeLifespan(
            client=lambda: connect_async(f"redis://127.0.0.1:{port}/0", retry=None),
            node=EdgeNode("web-1", "Web 1"),
            watch=True,
            relays={"test": print},
        ),
    )
    with TestClient(app) as client:
        answer = client.get("/health")
    assert answer.status_code == 503
    assert [reason.partition(":")[0] for reason in answer.json()["reasons"]] == ["store", "node"]


def test_options_are_checked_when_the_lifespan_is_made() -> None:
    with pytest.raises(InvalidArgumentError, match="heartbeat_seconds"):
        EdgeLifespan(heartbeat_seconds=0)


# The health endpoint


def test_health_is_200_and_says_what_was_checked(server: fakeredis.FakeServer) -> None:
    app = Starlette(routes=[Route("/health", health_endpoint())], lifespan=lifespan(server, node=EdgeNode("w", "W")))
    with TestClient(app) as client:
        answer = client.get("/health")
        assert client.head("/health").status_code == 200
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert (body["status"], body["reasons"]) == ("healthy", [])
    assert {name: check["healthy"] for name, check in body["checks"].items()} == {"store": True, "node": True}


def test_health_is_503_with_the_reasons_of_every_failed_check(server: fakeredis.FakeServer) -> None:
    async def broken() -> None:
        raise ZeroDivisionError("by zero")

    checks: dict[str, Any] = {
        "fine": lambda: None,
        "full": lambda: "disk is full",
        "off": lambda: False,
        "broken": broken,
    }
    node = EdgeNode("w", "W", status=EdgeNodeStatus.OFFLINE)
    app = Starlette(routes=[Route("/health", health_endpoint(checks=checks))], lifespan=lifespan(server, node=node))
    with TestClient(app) as client:
        answer = client.get("/health")
        server.connected = False
        without_server = client.get("/health").json()
        server.connected = True
    assert answer.status_code == 503
    assert answer.json()["reasons"] == [
        "node: w reports offline",
        "full: disk is full",
        "off: failed",
        "broken: ZeroDivisionError: by zero",
    ]
    assert without_server["reasons"][0].startswith("store: ")


def test_health_of_a_server_that_hangs_is_503_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as hung:
        app = Starlette(
            routes=[Route("/health", health_endpoint(timeout_seconds=0.1))],
            lifespan=EdgeLifespan(url=f"redis://127.0.0.1:{hung.getsockname()[1]}/0", close_seconds=0.1),
        )
        with TestClient(app) as client:
            answer = client.get("/health")
    assert answer.status_code == 503
    assert answer.json()["reasons"] == ["store: no answer within 0.1 s"]


def test_health_is_503_while_a_change_waits_too_long_for_the_cloud(
    server: fakeredis.FakeServer, edge: EdgeRedis
) -> None:
    cloud = fakeredis.FakeServer()
    cloud.connected = False
    edge.synchronizer("settings").update_local({"tax": 19})
    app = Starlette(
        routes=[Route("/health", health_endpoint(max_lag_seconds=0.001, show_reasons=False))],
        lifespan=lifespan(server, cloud=fakeredis.FakeAsyncRedis(server=cloud)),
    )
    with TestClient(app) as client:
        eventually(lambda: client.get("/health").status_code == 503)
        assert client.get("/health").json()["reasons"] == []


def test_without_a_lifespan_the_endpoint_says_what_is_missing() -> None:
    client = TestClient(Starlette(routes=[Route("/health", health_endpoint())]))
    with pytest.raises(ClientConfigurationError, match="EdgeLifespan"):
        client.get("/health")


# The response cache


class Pages:
    """An application whose endpoint is a function of the test, and how often it was called."""

    def __init__(self, server: fakeredis.FakeServer) -> None:
        self.server = server
        self.calls = 0
        self.make: Callable[[Request], Response] = lambda _: PlainTextResponse("page", headers=cache_headers(60))

    async def endpoint(self, request: Request) -> Response:
        self.calls += 1
        return self.make(request)

    @contextlib.contextmanager
    def serve(self, **options: Any) -> Iterator[TestClient]:
        methods = ["GET", "POST", "DELETE"]
        app = Starlette(
            routes=[Route("/{path:path}", self.endpoint, methods=methods)],
            middleware=[Middleware(ResponseCache, **options)],
            lifespan=lifespan(self.server),
        )
        with TestClient(app) as client:
            yield client


@pytest.fixture
def pages(server: fakeredis.FakeServer) -> Pages:
    return Pages(server)


def cache_status(response: Any) -> str:
    return str(response.headers.get("cache-status", ""))


def test_a_response_is_stored_for_all_processes_and_answered_with_its_age(pages: Pages) -> None:
    with pages.serve() as client:
        first = client.get("/a?x=1")
        assert (first.text, cache_status(first)) == ("page", "edge-redis; fwd=uri-miss; ttl=60")
    with pages.serve() as other:
        second = other.get("/a?x=1")
    assert (second.text, cache_status(second), second.headers["age"]) == ("page", "edge-redis; hit; ttl=60", "0")
    assert second.headers["content-type"] == first.headers["content-type"]
    assert pages.calls == 1


def test_another_query_or_host_is_another_resource(pages: Pages) -> None:
    with pages.serve() as client:
        for url in ("/a", "/a?x=1", "/a?x=2", "http://other/a"):
            client.get(url)
    assert pages.calls == 4


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"cache-control": "no-store, max-age=60"},
        {"cache-control": "private, max-age=60"},
        {"cache-control": "no-cache"},
        {"cache-control": "max-age=0"},
        {"cache-control": "s-maxage=0, max-age=60"},
        {"cache-control": "max-age=60", "set-cookie": "a=b"},
        {"cache-control": "max-age=60", "vary": "*"},
    ],
    ids=lambda headers: "; ".join(f"{name}: {value}" for name, value in headers.items()) or "no header",
)
def test_a_response_that_may_not_be_shared_is_not_stored(pages: Pages, headers: dict[str, str]) -> None:
    pages.make = lambda _: PlainTextResponse("page", headers=headers)
    with pages.serve() as client:
        assert [client.get("/a").text for _ in range(2)] == ["page", "page"]
    assert pages.calls == 2


@pytest.mark.parametrize("status", [201, 206, 302, 500, 503])
def test_a_response_of_another_status_is_not_stored(pages: Pages, status: int) -> None:
    pages.make = lambda _: PlainTextResponse("page", status, headers=cache_headers(60))
    with pages.serve() as client:
        assert [client.get("/a", follow_redirects=False).status_code for _ in range(2)] == [status, status]
    assert pages.calls == 2


@pytest.mark.parametrize(
    "headers",
    [{"authorization": "Bearer a"}, {"cookie": "session=a"}, {"range": "bytes=0-1"}, {"cache-control": "no-store"}],
    ids=lambda headers: next(iter(headers)),
)
def test_a_request_that_may_be_personal_is_answered_by_the_application(pages: Pages, headers: dict[str, str]) -> None:
    with pages.serve() as client:
        client.get("/a")
        assert cache_status(client.get("/a", headers=headers)) == ""
    assert pages.calls == 2


def test_what_may_be_shared_all_the_same_can_be_said(pages: Pages) -> None:
    pages.make = lambda _: PlainTextResponse("page", headers={**cache_headers(60), "set-cookie": "a=b"})
    with pages.serve(share_authorization=True, share_cookies=True, share_set_cookie=True) as client:
        client.get("/a", headers={"authorization": "Bearer a"})
        assert cache_status(client.get("/a", headers={"cookie": "session=a"})).startswith("edge-redis; hit")


def test_a_response_without_cache_control_is_stored_for_the_default(pages: Pages) -> None:
    pages.make = lambda _: PlainTextResponse("page")
    with pages.serve(default_seconds=30, paths=("/public/*",)) as client:
        assert cache_status(client.get("/public/a")) == "edge-redis; fwd=uri-miss; ttl=30"
        assert cache_status(client.get("/public/a")) == "edge-redis; hit; ttl=30"
        assert cache_status(client.get("/other")) == ""


def test_variants_are_stored_apart_and_fall_together(pages: Pages) -> None:
    def greet(request: Request) -> Response:
        text = {"de": "Hallo", "fr": "Salut"}.get(request.headers.get("accept-language", ""), "Hello")
        return PlainTextResponse(text, headers=cache_headers(60, vary=("Accept-Language",)))

    pages.make = greet
    with pages.serve() as client:
        languages = ("de", "fr", "de", "fr", "en")
        texts = [client.get("/a", headers={"accept-language": each}).text for each in languages]
        assert texts == ["Hallo", "Salut", "Hallo", "Salut", "Hello"]
        assert pages.calls == 3
        client.post("/a")
        client.get("/a", headers={"accept-language": "fr"})
    assert pages.calls == 5


def test_a_resource_that_depends_on_other_headers_than_before_is_stored_anew(pages: Pages) -> None:
    names = ["Accept"]
    pages.make = lambda _: PlainTextResponse("page", headers=cache_headers(60, vary=names))
    with pages.serve() as client:
        client.get("/a", headers={"accept": "1", "x": "1"})
        names[:] = ["X"]
        client.get("/a", headers={"accept": "2", "x": "1"})  # found to be another kind of resource
        assert cache_status(client.get("/a", headers={"accept": "3", "x": "1"})).startswith("edge-redis; fwd")
        assert cache_status(client.get("/a", headers={"accept": "4", "x": "1"})).startswith("edge-redis; hit")


def test_a_client_that_has_the_response_gets_304(pages: Pages) -> None:
    with pages.serve() as client:
        tag = client.get("/a").headers["etag"]
        again = client.get("/a", headers={"if-none-match": f'"other", W/{tag}'})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert "content-type" not in again.headers
        assert client.get("/a", headers={"if-none-match": '"other"'}).status_code == 200
    with pages.serve() as client:
        client.post("/a")
        assert client.get("/a", headers={"if-none-match": tag}).status_code == 304  # made anew, and the same


def test_the_validators_of_the_application_are_kept(pages: Pages) -> None:
    modified = "Sun, 01 Mar 2026 12:00:00 GMT"
    pages.make = lambda _: PlainTextResponse(
        "p", headers={**cache_headers(60), "etag": '"v1"', "last-modified": modified}
    )
    with pages.serve() as client:
        assert client.get("/a").headers["etag"] == '"v1"'
        assert client.get("/a", headers={"if-modified-since": modified}).status_code == 304
        earlier = "Sun, 01 Mar 2026 11:59:59 GMT"
        assert client.get("/a", headers={"if-modified-since": earlier}).status_code == 200
        assert client.get("/a", headers={"if-modified-since": "yesterday"}).status_code == 200


def test_head_is_answered_from_the_response_to_get(pages: Pages) -> None:
    with pages.serve() as client:
        client.get("/a")
        head = client.head("/a")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "4")
    assert pages.calls == 1


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_change_of_the_resource_removes_what_is_stored(pages: Pages, method: str) -> None:
    with pages.serve() as client:
        client.get("/a")
        client.request(method, "/a")
        client.get("/a")
        assert pages.calls == 3
        pages.make = lambda _: PlainTextResponse("refused", 403)
        client.request(method, "/a")
        assert client.get("/a").text == "page"


def test_tags_remove_what_is_stored_and_are_not_sent(pages: Pages, server: fakeredis.FakeServer) -> None:
    pages.make = lambda request: PlainTextResponse(
        "page", headers=cache_headers(60, tags=("prices", request.url.path), vary=("Accept",))
    )
    with pages.serve() as client, fakeredis.FakeRedis(server=server) as other:
        assert "cache-tag" not in client.get("/a").headers
        client.get("/b")
        with EdgeRedis(other, namespace=f"{NAMESPACE}-http") as stored:
            assert stored.cache.invalidate_tag("/a") == 2  # the resource and its variant
            client.get("/a")
            client.get("/b")
            assert pages.calls == 3
            stored.cache.invalidate_tag("prices")
        client.get("/b")
    assert pages.calls == 4


def test_the_endpoint_reaches_the_cache(pages: Pages) -> None:
    with pages.serve(options={"max_size": 7}) as client:

        async def size(request: Request) -> Response:
            return JSONResponse((await request.state.response_cache.stats())["max_size"])

        app: Any = client.app
        app.router.routes.insert(0, Route("/size", size))
        assert client.get("/size").json() == 7


def test_a_body_that_is_too_large_is_sent_and_not_stored(pages: Pages) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"0123456789"

    pages.make = lambda _: StreamingResponse(parts(), headers=cache_headers(60))
    with pages.serve(max_body_bytes=25) as client:
        assert [client.get("/a").content for _ in range(2)] == [b"0123456789" * 4] * 2
        assert pages.calls == 2
    with pages.serve(max_body_bytes=40) as client:
        assert [client.get("/b").content for _ in range(2)] == [b"0123456789" * 4] * 2
    assert pages.calls == 3


def test_files_are_stored(pages: Pages, tmp_path: Any) -> None:
    (tmp_path / "file.txt").write_text("text")
    pages.make = lambda _: FileResponse(tmp_path / "file.txt", headers=cache_headers(60))
    with pages.serve() as client:
        assert [client.get("/a").text for _ in range(2)] == ["text", "text"]
    assert pages.calls == 1


def test_errors_of_the_application_are_its_own(pages: Pages) -> None:
    def fail(_: Request) -> Response:
        raise ZeroDivisionError

    pages.make = fail
    with pages.serve() as client:
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                client.get("/a")


def test_the_application_answers_while_the_server_cannot_be_reached(pages: Pages, server: fakeredis.FakeServer) -> None:
    with pages.serve(retry_seconds=0) as client:
        client.get("/a")
        server.connected = False
        assert client.get("/a").text == "page"
        assert client.post("/a").text == "page"
        server.connected = True
        client.get("/b")
        assert cache_status(client.get("/b")).startswith("edge-redis; hit")


def test_the_application_answers_while_the_server_hangs() -> None:
    async def page(_: Request) -> Response:
        return PlainTextResponse("page", headers=cache_headers(60))

    with socket.create_server(("127.0.0.1", 0)) as hung:
        app = Starlette(
            routes=[Route("/", page)],
            middleware=[Middleware(ResponseCache, timeout_seconds=0.1)],
            lifespan=EdgeLifespan(url=f"redis://127.0.0.1:{hung.getsockname()[1]}/0", close_seconds=0.1),
        )
        with TestClient(app) as client:
            assert [client.get("/").text for _ in range(3)] == ["page"] * 3


class Together:
    """Many requests at once to the cache, without a web server."""

    def __init__(self, headers: dict[str, str]) -> None:
        self.headers = headers
        self.running = self.most = self.calls = 0
        self.begun = asyncio.Event()

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        self.calls += 1
        number = self.calls
        self.begun.set()
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0.02)
        self.running -= 1
        await PlainTextResponse(str(number), headers=self.headers)(scope, receive, send)

    async def ask(self, middleware: ResponseCache) -> str:
        body = bytearray()

        async def send(message: Any) -> None:
            body.extend(message.get("body", b""))

        async def receive() -> Any:
            await asyncio.Event().wait()

        scope = {"type": "http", "method": "GET", "path": "/a", "headers": [], "query_string": b"", "scheme": "http"}
        await middleware(scope, receive, send)
        return body.decode()

    async def run(self, requests: int) -> list[str]:
        server = fakeredis.FakeServer()
        async with contextlib.AsyncExitStack() as stack:
            processes = []
            for _ in range(2):
                client = await stack.enter_async_context(fakeredis.FakeAsyncRedis(server=server))
                cache = await stack.enter_async_context(aio.EdgeCache(client))
                processes.append(ResponseCache(self.app, cache=cache))
            return await asyncio.gather(*(self.ask(processes[number % 2]) for number in range(requests)))


@pytest.mark.parametrize("vary", [(), ("Accept",)], ids=["plain", "variant"])
def test_of_many_requests_at_once_one_runs_the_application(vary: tuple[str, ...]) -> None:
    together = Together(cache_headers(60, vary=vary))
    assert asyncio.run(together.run(20)) == ["1"] * 20
    assert together.calls == 1


def test_a_response_that_is_not_stored_goes_to_its_own_request_alone() -> None:
    together = Together({"cache-control": "private"})
    texts = asyncio.run(together.run(20))
    assert sorted(texts, key=int) == [str(number) for number in range(1, 21)]
    assert together.most > 1, "the others do not wait for each other"


def test_a_request_that_is_cancelled_lets_another_run_the_application() -> None:
    together = Together(cache_headers(60))

    async def scenario() -> str:
        async with fakeredis.FakeAsyncRedis() as client, aio.EdgeCache(client) as cache:
            middleware = ResponseCache(together.app, cache=cache)
            first = asyncio.ensure_future(together.ask(middleware))
            await together.begun.wait()
            second = asyncio.ensure_future(together.ask(middleware))
            await asyncio.sleep(0)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            return await second

    assert asyncio.run(scenario()) == "2"
