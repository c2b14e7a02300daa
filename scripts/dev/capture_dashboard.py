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
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from typing import Final

from capture_top import NAMESPACE, fill

from edge_redis import EdgeRedis, embedded
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
        site = options.site or stack.enter_context(serve_example())
        for scheme, width in product(("light", "dark"), WIDTHS):
            with Browser(width=width, dark=scheme == "dark") as browser:
                for page in (*PAGES, *options.page):
                    name = "-".join((re.sub(r"\W+", "-", page) or "overview", scheme, str(width)))
                    if options.only in (None, name):
                        capture(browser, site + page, options.folder / f"{name}.png")


def capture(browser: Browser, url: str, path: Path) -> None:
    """Write a picture of one page once it is live."""
    browser.open(url)
    if not browser.run("document.body.dataset.live"):
        raise SystemExit(f"there is no page at {url}")
    time.sleep(_LIVE_SECONDS)
    browser.capture(path)


@contextmanager
def serve_example() -> Iterator[str]:
    """Serve the page of a made-up site; the URL of its overview."""
    with embedded.start() as server, EdgeRedis.from_url(server.url, namespace=NAMESPACE) as edge:
        fill(edge, random.Random(1))  # noqa: S311 -- a made-up site, the same each time
        edge.metrics.flush()
        settings = ServeOptions(settings=Settings(url=server.url), namespaces=[NAMESPACE], host="127.0.0.1", port=0)
        with PageThread(settings) as page:
            yield f"{page.url}s/{NAMESPACE}/"


if __name__ == "__main__":
    main()
