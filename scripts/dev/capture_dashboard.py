#!/usr/bin/env python3
"""Write pictures of a served dashboard's pages: light and dark, on a desk and on a phone.

    .venv/bin/python scripts/dev/capture_dashboard.py build/pictures                   # of a made-up site
    edge-redis up --replay readings.csv.gz --namespace shop --page-port 8321 &         # or of any other
    .venv/bin/python scripts/dev/capture_dashboard.py build/pictures --site http://127.0.0.1:8321/s/shop/

Needs Chromium. Give further pages with ``--page 'node?id=till-1'``; ``--only overview-light-1280`` writes one picture.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from capture_top import NAMESPACE, fill

from edge_redis import ConflictStrategy, EdgeRedis, RedisCloudStore, SyncState, embedded
from edge_redis.dashboard._serve import PageThread
from edge_redis.dashboard._serve_options import ServeOptions
from edge_redis.settings import Settings

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from support.browser import Browser

PAGES: Final = ("", "nodes", "functions", "cache", "sync", "events")
WIDTHS: Final = (1280, 390)
_LIVE_SECONDS: Final = 1.5
"""Time for the first changes to arrive."""


def main() -> None:
    """Write a picture of each page, in each scheme and width."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--site", metavar="URL", help="a site of a dashboard; default: a made-up one on a server of its own"
    )
    parser.add_argument("--page", action="append", default=[], help="a further page, relative to the site")
    parser.add_argument("--only", metavar="NAME", help="write this picture alone, such as overview-dark-390")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        site, example_pages = (options.site, ()) if options.site else stack.enter_context(serve_example())
        for scheme, width in product(("light", "dark"), WIDTHS):
            with Browser(width=width, dark=scheme == "dark") as browser:
                for page in (*PAGES, *example_pages, *options.page):
                    name = "-".join((name_page(page), scheme, str(width)))
                    if options.only in (None, name):
                        capture(browser, site + page, options.folder / f"{name}.png")


def name_page(page: str) -> str:
    """Return a page's name in the names of its pictures, which are the same each time."""
    return re.sub(r"\W+", "-", re.sub(r"\bid=[0-9-]+", "", page)).strip("-") or "overview"


def capture(browser: Browser, url: str, path: Path) -> None:
    """Write a picture of one page once it is live."""
    browser.open(url)
    if not browser.run("document.body.dataset.live"):
        raise SystemExit(f"there is no page at {url}")
    time.sleep(_LIVE_SECONDS)
    browser.capture(path)


@contextmanager
def serve_example() -> Iterator[tuple[str, Sequence[str]]]:
    """Serve the page of a made-up site; the URL of its overview, and its pages of single things."""
    with embedded.start() as server, EdgeRedis.from_url(server.url, namespace=NAMESPACE) as edge:
        fill(edge, random.Random(1))  # noqa: S311 -- a made-up site, the same each time
        edge.metrics.flush()
        names = {"name": "prices", "id": add_conflict(edge, "prices")}
        pages = (
            "node?id=till-3",
            "function?name=sell",
            "scope?name=prices",
            "scope?name=till%2F2",
            f"conflict?{urlencode(names)}",
            f"letter?{urlencode({'id': add_dead_letter(edge)})}",
            "cache?key=price%2F7",
        )
        settings = ServeOptions(settings=Settings(url=server.url), namespaces=[NAMESPACE], host="127.0.0.1", port=0)
        with PageThread(settings) as page:
            yield f"{page.url}s/{NAMESPACE}/", pages


def add_conflict(edge: EdgeRedis, scope: str) -> str:
    """Write a scope at both ends; return the id of the conflict."""
    prices = edge.synchronizer(scope, conflict_strategy=ConflictStrategy.REMOTE_WINS)
    prices.update_local({"tea": 4, "milk": 1, "opening hours": {"mon": [8, 18], "sat": [9, 14]}})
    prices.apply_remote(SyncState.from_data({"tea": 5, "milk": 1, "opening hours": {"mon": [7, 18]}}, 9))
    return prices.conflicts()[0]["id"]


class RefusingCloud:
    """A cloud that refuses the changes of one scope."""

    def __init__(self, store: RedisCloudStore) -> None:
        self.get = store.get
        self.changes_since = store.changes_since
        self._store = store

    def apply(self, scope: str, changes: Any, strategy: ConflictStrategy) -> Any:
        """Apply the changes of other scopes."""
        if scope == "stock":
            raise ValueError("the table of counts has no column for the unit 'crate'")
        return self._store.apply(scope, changes, strategy)


def add_dead_letter(edge: EdgeRedis) -> str:
    """Have a change given up; return its id."""
    store = RedisCloudStore(edge.client, namespace=NAMESPACE)
    edge.synchronizer("stock").update_local({"tea": {"count": 4, "unit": "crate"}, "milk": {"count": 12}})
    with edge.worker(RefusingCloud(store), max_deliveries=1) as worker:
        while not (letters := worker.dead_letters()):
            worker.run_once()
    return letters[0]["id"]


if __name__ == "__main__":
    main()
