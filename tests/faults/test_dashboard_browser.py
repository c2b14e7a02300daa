"""The operator's page in a real browser: live, without complaints, and usable by the keyboard."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from edge_redis import EdgeNode, EdgeNodeStatus, EdgeRedis, InvocationRecord
from support.browser import Browser, find_chromium
from support.servers import Backend

pytestmark = [
    pytest.mark.exploration,
    pytest.mark.skipif(find_chromium() is None, reason="needs Chromium (Debian: chromium)"),
    pytest.mark.timeout(240),
]

HOSTILE = "<img src=x onerror=alert(1)>'\"&/"
TOKEN = "operator-token-0123"
PAGES = (
    *("", "nodes", "functions", "cache", "sync", "events"),
    "node?" + urlencode({"id": HOSTILE}),
    "function?" + urlencode({"name": HOSTILE}),
    "scope?" + urlencode({"name": HOSTILE}),
)


@pytest.fixture
def edge(valkey: Backend) -> Iterator[EdgeRedis]:
    with EdgeRedis.from_url(valkey.url, namespace="shop", metrics={"flush_every": 1}) as made:
        for number in range(60):
            made.health.register(EdgeNode(f"till-{number:02}", f"Till {number}", "Bern" if number else "Basel"))
        made.health.register(EdgeNode(HOSTILE, HOSTILE, HOSTILE))
        made.health.check_cluster()
        for number in range(20):
            made.metrics.record(InvocationRecord(HOSTILE, "till-00", number + 1.0, number != 3, error=HOSTILE))
        made.cache.put(HOSTILE, {HOSTILE: HOSTILE})
        made.synchronizer(HOSTILE).update_local({HOSTILE: HOSTILE})
        yield made


@pytest.fixture
def base(valkey: Backend, edge: EdgeRedis, tmp_path: Path) -> Iterator[str]:
    """The page of the site, served by the command."""
    assert valkey.url is not None
    tokens = tmp_path / "tokens"
    tokens.write_text(f"ann:{TOKEN}\n")
    command = [sys.executable, "-m", "edge_redis", "dashboard", "--url", valkey.url, "--namespace", edge.namespace]
    with subprocess.Popen(
        [*command, "--port", "0", "--token-file", str(tokens)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+:\d+/", process.stdout.readline())
            assert found is not None
            yield found[0]
        finally:
            process.terminate()
            process.wait(20)


def assert_own_requests_alone(browser: Browser, base: str) -> None:
    assert browser.complaints == []
    assert {urlsplit(url).netloc for url in browser.requests if url.startswith("http")} == {urlsplit(base).netloc}


def test_every_page_is_shown_without_complaint_on_desk_and_phone(base: str) -> None:
    with Browser() as browser:
        for page in PAGES:
            browser.open(f"{base}s/shop/{page}")
            browser.resize(390, 800)
            assert browser.run("document.documentElement.scrollWidth") <= 390, page
            browser.resize(1280, 900)
            assert browser.run("document.querySelectorAll('h1').length") == 1, page
            assert browser.run("document.querySelectorAll('img').length") == 0, page
            browser.wait(lambda: browser.run("document.getElementById('f-status').textContent") == "live")
        assert_own_requests_alone(browser, base)


def test_a_change_is_seen_without_loading_anew_while_focus_and_scroll_stay(base: str, edge: EdgeRedis) -> None:
    with Browser() as browser:
        browser.open(f"{base}s/shop/nodes?sort=id&dir=asc")
        row = "[...document.querySelectorAll('#f-list tbody tr')].find(row => row.textContent.includes('till-05'))"
        browser.run(f"window.marker = 1, {row}.querySelector('a').focus(), scrollTo(0, 300)")
        browser.wait(lambda: "live" in str(browser.run("document.getElementById('f-status').textContent")))
        edge.health.heartbeat("till-05", status=EdgeNodeStatus.DEGRADED)
        browser.wait(lambda: "degraded" in browser.run(f"{row}.textContent"), 4.0)
        assert browser.run("window.marker") == 1, "nothing was loaded anew"
        assert browser.run("document.activeElement.textContent") == "till-05"
        assert browser.run("scrollY") > 200
        assert_own_requests_alone(browser, base)


def test_a_filter_acts_while_it_is_typed_and_keeps_the_focus(base: str) -> None:
    with Browser() as browser:
        browser.open(f"{base}s/shop/nodes")
        browser.press("/", 191, "/")
        assert browser.run("document.activeElement.name") == "q"
        for letter in "basel":
            browser.press(letter, ord(letter.upper()), letter)
        browser.wait(lambda: browser.run("document.querySelectorAll('#f-list tbody tr').length") == 1)
        assert browser.run("document.activeElement.name + document.activeElement.value") == "qbasel"
        assert "q=basel" in browser.run("location.search")


def test_an_operator_signs_in_and_acts_by_the_keyboard_alone(base: str, edge: EdgeRedis) -> None:
    with Browser() as browser:
        browser.open(f"{base}sign-in?next=%2Fs%2Fshop%2Fnode%3Fid%3Dtill-00")
        browser.call("Input.insertText", text=TOKEN)
        browser.press("Enter", 13, "\r")
        browser.wait(lambda: browser.run("document.querySelector('h1')?.textContent") == "Node till-00")
        for _ in range(30):
            if browser.run("document.activeElement.name") == "duration":
                break
            browser.press("Tab", 9)
        browser.call("Input.insertText", text="2h")
        browser.press("Enter", 13, "\r")
        browser.wait(lambda: "in maintenance" in str(browser.run("document.querySelector('.notice')?.textContent")))
        assert_own_requests_alone(browser, base)
    assert [found.in_maintenance for found in edge.health.snapshot() if found.node_id == "till-00"] == [True]


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)], ids=["desk-light", "phone-dark"])
def test_axe_finds_no_fault_of_accessibility(base: str, width: int, dark: bool) -> None:  # noqa: FBT001
    axe = (resources.files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
    found = {}
    with Browser(width=width, dark=dark) as browser:
        for page in PAGES:
            browser.open(f"{base}s/shop/{page}")
            browser.run(f"(() => {{ {axe}; window.axe = axe; }})()")
            found[page] = browser.run(
                "axe.run().then(found => found.violations.map(each => [each.id, each.nodes[0].html]))"
            )
    assert found == {page: [] for page in PAGES}
