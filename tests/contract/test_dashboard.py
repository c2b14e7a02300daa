"""The operator's page: its figures are the API's, nothing from outside is markup, and only operators act."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from typing import Any
from urllib.parse import urlencode

import fakeredis
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

import edge_redis.aio
from edge_redis import (
    ConflictStrategy,
    EdgeNode,
    EdgeNodeStatus,
    EdgeRedis,
    InvalidArgumentError,
    InvocationRecord,
    SyncState,
)
from edge_redis._site import reading_cache
from edge_redis.dashboard import Visitor, dashboard

HOSTILE = "<script>alert(1)</script>\"'&/☃"
OPERATOR, VIEWER = "operator-token-0123", "viewer-token-012345"
PAGES = (
    "",
    "nodes",
    "node?" + urlencode({"id": HOSTILE}),
    "functions",
    "function?" + urlencode({"name": HOSTILE}),
    "cache?" + urlencode({"key": HOSTILE}),
    "sync",
    "scope?" + urlencode({"name": HOSTILE}),
    "events",
)


class Refusing:
    """A cloud that refuses the changes of one scope, with an error that a page must escape."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def get(self, scope: str) -> Any:
        return self._inner.get(scope)

    def changes_since(self, cursor: str = "", limit: int = 100) -> Any:
        return self._inner.changes_since(cursor, limit)

    def apply(self, scope: str, changes: Any, strategy: Any) -> Any:
        if scope == "refused":
            raise ValueError(HOSTILE)
        return self._inner.apply(scope, changes, strategy)


class World:
    """A site on a fake server, and its page in a client that behaves as a browser does."""

    def __init__(self) -> None:
        self.server = fakeredis.FakeServer()
        self.edge = EdgeRedis(fakeredis.FakeRedis(server=self.server), namespace="shop", metrics={"flush_every": 1})

    def services(self, namespace: str = "shop") -> edge_redis.aio.EdgeRedis:
        return edge_redis.aio.EdgeRedis(fakeredis.FakeAsyncRedis(server=self.server), namespace=namespace)

    def page(self, **options: Any) -> TestClient:
        options.setdefault("interval_seconds", 0.001)
        return TestClient(dashboard(self.services(), **options), base_url="http://localhost")

    def add_everything(self) -> None:
        edge = self.edge
        edge.health.register(EdgeNode(HOSTILE, HOSTILE, HOSTILE, capabilities=[HOSTILE]))
        edge.health.register(EdgeNode("till-2", "Till 2", status=EdgeNodeStatus.OFFLINE))
        edge.health.set_maintenance(HOSTILE, reason=HOSTILE)
        edge.health.end_maintenance(HOSTILE)
        edge.health.check_cluster()
        for number in range(20):
            edge.metrics.record(InvocationRecord(HOSTILE, HOSTILE, number + 1.0, number != 3, error=HOSTILE))
        edge.cache.put(HOSTILE, {HOSTILE: HOSTILE})
        edge.cache.get(HOSTILE)
        edge.cache.get("missing")
        edge.synchronizer(HOSTILE).update_local({HOSTILE: HOSTILE})


def add_dead_letter(edge: EdgeRedis) -> str:
    """Have a change given up; return its id."""
    store = edge_redis.RedisCloudStore(edge.client, namespace="shop")
    edge.synchronizer("refused").update_local({"tea": 4})
    edge.synchronizer("accepted").update_local({"tea": 4})
    with edge.worker(Refusing(store), max_deliveries=1) as worker:
        for _ in range(4):
            worker.run_once()
        found: str = worker.dead_letters()[0]["id"]
    return found


def add_conflict(edge: EdgeRedis, scope: str = "prices") -> str:
    """Write a scope at both ends; return the id of the conflict."""
    prices = edge.synchronizer(scope, conflict_strategy=ConflictStrategy.REMOTE_WINS, max_pending=7)
    prices.update_local({"tea": 4, "milk": 1})
    prices.apply_remote(SyncState.from_data({"tea": 5}, 9))
    return prices.conflicts()[0]["id"]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A site whose page reads everything anew each time."""
    monkeypatch.setattr(reading_cache, "SECONDS", dict.fromkeys(reading_cache.SECONDS, 0.0))
    monkeypatch.setattr(reading_cache, "MAX_SECONDS", {})
    made = World()
    yield made
    made.edge.close()


def sign_in(client: TestClient, token: str) -> Any:
    form = client.get("/sign-in").text
    return client.post(
        "/sign-in", data={"csrf": csrf(form), "token": token, "next": ""}, headers={"Origin": "http://localhost"}
    )


def csrf(html: str) -> str:
    found = re.search(r'name="csrf" value="(\w+)"', html)
    assert found is not None
    return found[1]


def act(client: TestClient, action: str, page: str, headers: Any = None, **fields: str) -> Any:
    token = csrf(client.get(page).text)
    origin = {"Origin": "http://localhost"} if headers is None else headers
    return client.post(f"/act/shop/{action}", data={"csrf": token, **fields}, headers=origin)


def test_every_page_escapes_what_comes_from_outside(world: World) -> None:
    world.add_everything()
    add_dead_letter(world.edge)
    with world.page() as client:
        for page in PAGES:
            response = client.get(f"/s/shop/{page}")
            assert response.status_code == 200, page
            assert "<script>alert" not in response.text, page
            assert "alert(1)" in unescape(response.text) or page == "", page
            assert not re.search(r' (style|on\w+)="', response.text), page


def test_figures_are_those_of_the_services(world: World) -> None:
    world.add_everything()
    metrics, cache = world.edge.metrics.summary(), world.edge.cache.stats()
    with world.page() as client:
        overview = client.get("/s/shop/").text
        nodes = client.get("/s/shop/nodes").text
        functions = client.get("/s/shop/functions").text
        cached = client.get("/s/shop/cache").text
        sync = client.get("/s/shop/sync").text
    assert f"{metrics['total']} in all" in overview
    assert f"{metrics['success_rate']:.1f}%" in overview
    assert f"{metrics['p95']:.1f} ms" in functions
    assert "1 healthy" in nodes
    assert "1 unhealthy" in nodes
    assert f"{cache['hits']} of {cache['hits'] + cache['misses']}" in cached
    assert re.search(r"Changes pending</dt><dd>1<", sync)


def test_nodes_are_sorted_filtered_and_paged_by_the_url(world: World) -> None:
    for number in range(60):
        world.edge.health.register(EdgeNode(f"till-{number:02}", f"Till {number}", "Bern" if number < 55 else "Basel"))
    with world.page() as client:
        first = client.get("/s/shop/nodes?sort=id&dir=asc").text
        second = client.get("/s/shop/nodes?sort=id&dir=asc&page=2").text
        basel = client.get("/s/shop/nodes?q=basel&sort=id&dir=desc").text
        beyond = client.get("/s/shop/nodes?page=99&sort=nonsense").text
    assert "till-00" in first
    assert "till-55" not in first
    assert re.search(r'aria-sort="ascending"><a[^>]*>Node', first)
    assert "till-55" in second
    assert re.findall(r">(till-\d\d)<", basel) == ["till-59", "till-58", "till-57", "till-56", "till-55"]
    assert "page 2 of 2" in beyond


def test_what_is_not_there_is_a_404(world: World) -> None:
    with world.page() as client:
        for path in ("/s/shop/node?id=none", "/s/shop/function?name=none", "/s/shop/nope", "/s/other/", "/static/x"):
            assert client.get(path).status_code == 404, path


def test_an_unreachable_server_is_said_on_the_page_and_what_was_shown_stays(world: World) -> None:
    world.edge.health.register(EdgeNode("till-1", "Till 1"))
    with world.page() as client:
        assert client.get("/s/shop/nodes").status_code == 200
        world.server.connected = False
        broken = client.get("/s/shop/nodes")
        assert broken.status_code == 503
        assert "cannot be read" in broken.text
        assert "till-1" in broken.text
        assert client.get("/s/shop/functions").status_code == 503
        world.server.connected = True
        assert client.get("/s/shop/nodes").status_code == 200


def test_no_page_loads_or_runs_anything_of_another_origin(world: World) -> None:
    world.add_everything()
    with world.page() as client:
        response = client.get("/s/shop/")
        policy = response.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert response.headers["x-content-type-options"] == "nosniff"
        sources = re.findall(r'(?:src|href)="([^"]+)"', response.text)
        assert not [source for source in sources if source.startswith(("http", "//"))]
        assert "<script>" not in response.text
        for source in re.findall(r'(?:src|href)="(/static/[^"]+)"', response.text):
            assert client.get(source).status_code == 200
        assert "content-security-policy" in client.get("/nope").headers


def stream(client: TestClient, page: str) -> list[list[list[str]]]:
    """Return the swaps of each message of a stream that ends by itself."""
    found = re.search(r'data-live="([^"]+)"', client.get(page).text)
    assert found is not None
    text = client.get(unescape(found[1])).text
    return [json.loads(line[6:])["swaps"] for line in text.splitlines() if line.startswith("data: ")]


def test_a_stream_sends_only_what_changed_since_the_page(world: World) -> None:
    world.edge.health.register(EdgeNode("till-1", "Till 1"))
    world.edge.health.register(EdgeNode("till-2", "Till 2"))
    with world.page(stream_seconds=0.15) as client:
        assert stream(client, "/s/shop/nodes") == []
        page = client.get("/s/shop/nodes").text
        live = re.search(r'data-live="([^"]+)"', page)
        assert live is not None
        world.edge.health.heartbeat("till-2", status=EdgeNodeStatus.DEGRADED)
        text = client.get(unescape(live[1])).text
    [message] = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    [[name, html]] = message["swaps"]
    assert name.startswith("r")
    assert "till-2" in html
    assert "degraded" in html
    assert "§" not in html


def test_a_stream_without_a_known_frame_sends_the_whole_view(world: World) -> None:
    world.edge.health.register(EdgeNode("till-1", "Till 1"))
    with world.page(stream_seconds=0.05) as client:
        text = client.get("/live/shop/nodes?after=unknown").text
    swaps = json.loads(next(line for line in text.splitlines() if line.startswith("data: "))[6:])["swaps"]
    assert [name for name, _ in swaps] == ["f-status", "f-counts", "f-list"]


def test_without_tokens_nobody_acts(world: World) -> None:
    world.edge.health.register(EdgeNode("till-1", "Till 1"))
    with world.page() as client:
        assert '<form method="post"' not in client.get("/s/shop/node?id=till-1").text
        response = client.post("/act/shop/maintenance", data={"node": "till-1"}, headers={"Origin": "http://localhost"})
        assert response.status_code == 403
    assert not world.edge.health.snapshot()[0].in_maintenance


def test_sign_in_is_required_where_it_is_asked_for(world: World) -> None:
    with world.page(viewers={"vera": VIEWER}, operators={"ann": OPERATOR}, require_sign_in=True) as client:
        refused = client.get("/s/shop/nodes?q=a", follow_redirects=False)
        assert refused.status_code == 303
        assert refused.headers["location"] == "/sign-in?next=%2Fs%2Fshop%2Fnodes%3Fq%3Da"
        assert "content-security-policy" in refused.headers
        assert client.get("/live/shop/nodes").status_code == 401
        assert client.post("/act/shop/replay").status_code == 401
        assert client.get("/static/page.css").status_code == 200
        assert sign_in(client, "a wrong token").status_code == 403
        assert client.get("/s/shop/nodes", follow_redirects=False).status_code == 303
        assert sign_in(client, VIEWER).status_code == 200
        assert "vera (read-only)" in client.get("/s/shop/nodes").text
        cookie = client.cookies["edge_redis_session"]
        client.cookies.set(
            "edge_redis_session", cookie[:-1] + ("0" if cookie[-1] != "0" else "1"), domain="localhost.local", path="/"
        )
        assert client.get("/s/shop/nodes", follow_redirects=False).status_code == 303


def test_a_sign_in_leads_to_no_other_host(world: World) -> None:
    with world.page(operators={"ann": OPERATOR}) as client:
        for wanted in ("https://elsewhere.example/", "//elsewhere.example/", "/\\elsewhere.example"):
            token = csrf(client.get("/sign-in").text)
            response = client.post(
                "/sign-in",
                data={"csrf": token, "token": OPERATOR, "next": wanted},
                headers={"Origin": "http://localhost"},
                follow_redirects=False,
            )
            assert response.headers["location"] == "/", wanted
            assert {"httponly", "samesite=strict"} <= set(response.headers["set-cookie"].lower().split("; "))


def test_a_viewer_cannot_act(world: World) -> None:
    world.edge.health.register(EdgeNode("till-1", "Till 1"))
    with world.page(viewers={"vera": VIEWER}, operators={"ann": OPERATOR}) as client:
        sign_in(client, VIEWER)
        assert act(client, "maintenance", "/s/shop/", node="till-1").status_code == 403
    assert not world.edge.health.snapshot()[0].in_maintenance


def test_an_action_needs_the_pages_own_form(world: World) -> None:
    world.edge.health.register(EdgeNode("till-1", "Till 1"))
    with world.page(operators={"ann": OPERATOR}) as client:
        sign_in(client, OPERATOR)
        page = "/s/shop/node?id=till-1"
        foreign: tuple[dict[str, str], ...] = (
            {"Origin": "http://elsewhere.example"},
            {"Sec-Fetch-Site": "cross-site"},
            {},
        )
        for headers in foreign:
            assert act(client, "maintenance", page, headers, node="till-1").status_code == 403
        headers = {"Origin": "http://localhost"}
        assert (
            client.post("/act/shop/maintenance", data={"csrf": "x", "node": "till-1"}, headers=headers).status_code
            == 403
        )
        assert client.get("/act/shop/maintenance").status_code == 405
    assert not world.edge.health.snapshot()[0].in_maintenance


def test_maintenance_is_set_and_ended_with_the_operators_name(world: World) -> None:
    world.edge.health.register(EdgeNode("till-1", "Till 1"))
    page = "/s/shop/node?id=till-1"
    with world.page(operators={"ann": OPERATOR}) as client:
        sign_in(client, OPERATOR)
        done = act(client, "maintenance", page, node="till-1", duration="2h", reason="new disk")
        assert done.status_code == 200
        assert "The node is in maintenance." in done.text
        assert world.edge.health.snapshot()[0].in_maintenance
        assert world.edge.health.transitions()[-1].reason == "new disk (by ann)"
        events = client.get("/s/shop/events?kind=action").text
        assert "new disk" in events
        assert "by ann" in events
        assert "The maintenance is over." in act(client, "end-maintenance", page, node="till-1").text
        assert not world.edge.health.snapshot()[0].in_maintenance
        assert act(client, "maintenance", page, node="till-1", duration="soon").status_code == 400
        assert act(client, "maintenance", page, node="till-9").status_code in (400, 409)


def test_values_at_both_ends_and_of_conflicts_are_shown_as_json(world: World) -> None:
    world.edge.synchronizer("till").update_local({"last": "bread", "count": [3], "nothing": None})
    conflict = add_conflict(world.edge)
    with world.page() as client:
        html = client.get("/s/shop/scope?name=till").text
        assert all(f"<code>{shown}</code>" in html for shown in ("&#34;bread&#34;", "[3]"))
        html = client.get("/s/shop/conflict?" + urlencode({"name": "prices", "id": conflict})).text
        assert all(f"<code>{shown}</code>" in html for shown in ("4", "5", "1"))


def test_dead_letters_are_replayed_and_discarded(world: World) -> None:
    letter = add_dead_letter(world.edge)
    with world.page(operators={"ann": OPERATOR}) as client:
        sign_in(client, OPERATOR)
        page = f"/s/shop/letter?id={letter}"
        assert "alert(1)" in unescape(client.get(page).text)
        assert act(client, "discard", page, id=letter).status_code == 200
        with world.edge.worker(world.edge.client) as worker:
            assert worker.dead_letters() == []
        assert "not there any more" in act(client, "discard", "/s/shop/sync", id=letter).text
    letter = add_dead_letter(world.edge)
    with world.page(operators={"ann": OPERATOR}) as client:
        sign_in(client, OPERATOR)
        assert act(client, "replay", "/s/shop/sync").status_code == 200
        with world.edge.worker(world.edge.client) as worker:
            assert worker.dead_letters() == []  # the page's own cloud takes it


@pytest.mark.parametrize(
    ("choice", "data", "expected"),
    [
        ("present", "", {"tea": 5}),
        ("lost", "", {"tea": 4, "milk": 1}),
        ("data", '{"tea": 6}', {"tea": 6}),
    ],
)
def test_a_conflict_is_resolved_with_the_settings_of_its_scope(
    world: World, choice: str, data: str, expected: dict[str, int]
) -> None:
    conflict = add_conflict(world.edge)
    page = "/s/shop/conflict?" + urlencode({"name": "prices", "id": conflict})
    with world.page(operators={"ann": OPERATOR}) as client:
        sign_in(client, OPERATOR)
        assert "milk" in client.get(page).text
        fields = {"scope": "prices", "conflict": conflict}
        assert act(client, "resolve", page, **fields, choice="data", data="[").status_code == 400
        assert act(client, "resolve", page, **fields, choice=choice, data=data).status_code == 200
    prices = world.edge.synchronizer("prices", max_pending=7)
    state = prices.get_local_state()
    assert state is not None
    assert state.data == expected
    assert prices.conflicts() == []


def test_several_sites_are_listed_and_apart(world: World) -> None:
    world.edge.health.register(EdgeNode("till-1", "Till 1"))
    sites = {"shop one": world.services(), "shop/two": world.services("other")}
    with TestClient(dashboard(sites), base_url="http://localhost") as client:
        page = client.get("/").text
        assert re.findall(r'class="name" href="/s/([^"]+)/"', page) == ["shop-one", "shop-two"]
        assert "till-1" in client.get("/s/shop-one/nodes").text
        assert "till-1" not in client.get("/s/shop-two/nodes").text


def test_mounted_it_takes_the_sign_in_of_the_application_around(world: World) -> None:
    world.edge.health.register(EdgeNode("till-1", "Till 1"))

    async def identify(connection: Any) -> Visitor | None:
        name = connection.headers.get("x-user")
        return Visitor(name, may_act=name == "ann") if name else None

    app = Starlette(routes=[Mount("/ops", dashboard(world.services(), identify=identify, interval_seconds=0.01))])
    with TestClient(app, base_url="http://localhost") as client:
        assert client.get("/ops/s/shop/nodes").status_code == 401
        assert client.get("/ops/sign-in").status_code == 401
        client.headers["x-user"] = "vera"
        page = client.get("/ops/s/shop/node?id=till-1").text
        assert 'href="/ops/static/page.css' in page
        assert 'data-live="/ops/live/shop/node' in page
        client.headers["x-user"] = "ann"
        token = csrf(client.get("/ops/s/shop/node?id=till-1").text)
        done = client.post(
            "/ops/act/shop/maintenance",
            data={"csrf": token, "node": "till-1"},
            headers={"Origin": "http://localhost"},
        )
        assert done.status_code == 200
    assert world.edge.health.transitions()[-1].reason == "(by ann)"


def test_another_host_name_is_refused_where_names_are_given(world: World) -> None:
    with world.page(allowed_hosts=("localhost",)) as client:
        assert client.get("/s/shop/").status_code == 200
        assert client.get("/s/shop/", headers={"Host": "elsewhere.example"}).status_code == 400


def test_what_cannot_be_served_is_refused(world: World) -> None:
    services = world.services()
    for options in (
        {"operators": {"ann": "short"}},
        {"require_sign_in": True},
        {"operators": {"ann": OPERATOR}, "viewers": {"vera": OPERATOR}},
        {"operators": {"ann": OPERATOR}, "identify": lambda _: None},
        {"clouds": {"other": services.client}},
    ):
        with pytest.raises(InvalidArgumentError):
            dashboard(services, **options)
    with pytest.raises(InvalidArgumentError):
        dashboard({})
    with pytest.raises(edge_redis.InvalidTypeError):
        dashboard({"shop": world.edge})  # type: ignore[dict-item]
