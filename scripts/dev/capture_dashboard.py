#!/usr/bin/env python3
"""Write pictures of a served dashboard's pages: light and dark, on a desk and on a phone.

    edge-redis dashboard --url redis://store:6379/0 --namespace shop &
    .venv/bin/python scripts/dev/capture_dashboard.py http://127.0.0.1:8321/s/shop/ build/pictures

Needs Chromium. Give further pages with ``--page 'node?id=till-1'``.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path
from typing import Final

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
    parser.add_argument("site", metavar="URL", help="a site of the dashboard, such as http://127.0.0.1:8321/s/shop/")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--page", action="append", default=[], help="a further page, relative to the site")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for scheme in ("light", "dark"):
        for width in WIDTHS:
            with Browser(width=width, dark=scheme == "dark") as browser:
                for page in (*PAGES, *options.page):
                    browser.open(options.site + page)
                    time.sleep(_LIVE_SECONDS)
                    name = re.sub(r"\W+", "-", page) or "overview"
                    browser.capture(options.folder / f"{name}-{scheme}-{width}.png")


if __name__ == "__main__":
    main()
