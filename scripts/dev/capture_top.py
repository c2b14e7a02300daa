#!/usr/bin/env python3
"""Write pictures of `edge-redis top` on a made-up site, as SVG: one of each view and of each kind of detail.

.venv/bin/python scripts/dev/capture_top.py docs/images --size 80x24 --only overview
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import fakeredis

from edge_redis import EdgeNode, EdgeNodeStatus, EdgeRedis, InvocationRecord, ResourceUsage, aio
from edge_redis._site.reader import SiteReader
from edge_redis.cli._top.app import VIEWS, TopApp
from edge_redis.models import utc_now

NAMESPACE = "shop-berlin"
NODES = 12
FUNCTIONS = ("sell", "price_lookup", "stock.sync", "print_receipt", "refund")
SECONDS_TO_SETTLE = 1.0
FONT_FACE = re.compile(r"@font-face \{.*?\}", re.DOTALL)  # which names files of another host


def fill(edge: EdgeRedis, chance: random.Random) -> None:
    """Write the state of a site: a dead node, one in maintenance, functions, cache, scopes that wait."""
    for number in range(1, NODES + 1):
        usage = ResourceUsage(chance.random() * 80, chance.random() * 800, 1000)
        place = chance.choice(["front", "hall 7", "bakery"])
        edge.health.register(EdgeNode(f"till-{number}", f"Till {number}", place, resources=usage))
    edge.health.set_maintenance("till-5", 3600, "new printer")
    for node in edge.health.nodes():
        edge.health.check_node(node.id)
    edge.health.heartbeat("till-3", EdgeNodeStatus.OFFLINE)
    edge.health.check_node("till-3")
    edge.metrics.record_many(list(_calls(chance)))
    for number in range(300):
        edge.cache.put(f"price/{number}", number)
    for number in range(340):
        edge.cache.get(f"price/{number}")
    for number in range(1, 7):
        scope = edge.synchronizer(f"till/{number}")
        scope.update_local({"total": number * 320, "last": "bread"})
    edge.worker(edge.client).run_once()
    edge.synchronizer("till/2").update_local({"total": 999}, is_delta=True)


def _calls(chance: random.Random) -> Iterator[InvocationRecord]:
    now = utc_now()
    for minute in range(60):
        for name in FUNCTIONS:
            for _ in range(chance.randint(2, 12)):
                success = chance.random() > 0.01  # noqa: PLR2004
                yield InvocationRecord(
                    name,
                    f"till-{chance.randint(1, NODES)}",
                    chance.lognormvariate(3, 0.8),
                    success,
                    now - timedelta(minutes=minute),
                    "" if success else "no paper",
                )


async def capture(server: fakeredis.FakeServer, folder: Path, size: tuple[int, int], only: str | None) -> None:
    """Write a picture of each view, and of what its second row opens."""

    @asynccontextmanager
    async def open_site() -> AsyncIterator[SiteReader]:
        client = fakeredis.FakeAsyncRedis(server=server)
        async with client, aio.EdgeRedis(client, namespace=NAMESPACE) as edge:
            reader = SiteReader(edge)
            yield reader
            await reader.close()

    app = TopApp(open_site)
    async with app.run_test(size=size) as pilot:
        for number, view in enumerate(VIEWS, 1):
            for name, keys in ((view, [str(number)]), (f"{view}-opened", ["down", "enter"])):
                if only not in {None, name} or (view == "overview" and len(keys) > 1):
                    continue
                await pilot.press(*keys)
                await pilot.pause(SECONDS_TO_SETTLE)
                picture = FONT_FACE.sub("", app.export_screenshot(title="edge-redis top"))
                path = folder / f"top-{name}.svg"
                path.write_text(re.sub(r"[ \t]+$", "", picture, flags=re.MULTILINE).rstrip() + "\n")
                print(path)


def main() -> None:
    """Read the arguments and write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", default="80x24", help="columns x lines (default: %(default)s)")
    parser.add_argument("--only", help="one picture, such as overview or nodes-opened")
    options = parser.parse_args()
    columns, lines = map(int, options.size.split("x"))
    server = fakeredis.FakeServer()
    with fakeredis.FakeRedis(server=server) as client, EdgeRedis(client, namespace=NAMESPACE) as edge:
        fill(edge, random.Random(7))  # noqa: S311 -- the same picture each time
        asyncio.run(capture(server, options.folder, (columns, lines), options.only))


if __name__ == "__main__":
    main()
