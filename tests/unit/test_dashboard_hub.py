"""The hub renders what somebody looks at, once a tick, and nothing else."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Hashable
from contextlib import aclosing
from typing import Any

from edge_redis.dashboard._fragments import Fragment, Replacement, fill_ages, list_replacements
from edge_redis.dashboard._hub import Frame, Hub


class Views:
    """Counts how often each view is rendered; its content is the number."""

    def __init__(self) -> None:
        self.rendered: Counter[Hashable] = Counter()
        self.broken: set[Hashable] = set()
        self.now = 0.0
        self.hub = Hub(self.render, interval_seconds=1.0, stream_seconds=30.0, max_streams=3, clock=lambda: self.now)

    async def render(self, view: Hashable, _: Frame | None) -> Frame:
        if view in self.broken:
            raise ZeroDivisionError
        self.rendered[view] += 1
        return Frame(f"{view}-{self.rendered[view]}", (Fragment("f", f"<p>{self.rendered[view]}</p>"),))


async def take(stream: AsyncIterator[Any]) -> Any:
    return await asyncio.wait_for(anext(stream), 5.0)


def test_views_are_rendered_once_a_tick_for_all_streams_and_not_without_any() -> None:
    async def main() -> None:
        views = Views()
        hub = views.hub
        await hub.tick()
        assert not views.rendered, "nobody looks"
        async with aclosing(hub.follow("a", "")) as first, aclosing(hub.follow("a", "")) as second:
            assert (await take(first))[1] == [Replacement("f", "<p>1</p>")]
            assert (await take(second))[1] == [Replacement("f", "<p>1</p>")]
            waiting = [asyncio.ensure_future(take(stream)) for stream in (first, second)]
            await asyncio.sleep(0)
            views.now += 1.0
            await hub.tick()
            for number, changes in await asyncio.gather(*waiting):
                assert (number, changes) == ("a-2", [Replacement("f", "<p>2</p>")])
            assert hub.streams == 2
        assert hub.streams == 0
        views.now += 1.0
        await hub.tick()
        assert views.rendered == {"a": 2}
        await hub.close()

    asyncio.run(main())


def test_a_view_that_cannot_be_rendered_stops_no_other() -> None:
    async def main() -> None:
        views = Views()
        async with aclosing(views.hub.follow("a", "")) as bad, aclosing(views.hub.follow("b", "")) as good:
            await take(bad)
            await take(good)
            views.broken.add("a")
            views.now += 1.0
            await views.hub.tick()
            assert views.rendered == {"a": 1, "b": 2}
        await views.hub.close()

    asyncio.run(main())


def test_streams_are_bounded_and_end_at_close() -> None:
    async def main() -> None:
        hub = Views().hub
        streams = [hub.follow("a", "") for _ in range(3)]
        for stream in streams:
            await take(stream)
        assert hub.is_full
        waiting = asyncio.ensure_future(anext(streams[0], None))
        await asyncio.sleep(0)
        await hub.close()
        assert await asyncio.wait_for(waiting, 5.0) is None
        for stream in streams[1:]:
            await stream.aclose()

    asyncio.run(main())


def test_only_the_rows_that_changed_are_sent_unless_their_order_changed() -> None:
    def table(*rows: tuple[str, int]) -> list[Fragment]:
        return [
            Fragment("f", "<table>" + "".join(f'<tr id="{name}"><td>{n}</td></tr>' for name, n in rows) + "</table>")
        ]

    before = table(("a", 1), ("b", 2))
    assert list_replacements(before, before) == []
    assert list_replacements(before, table(("a", 1), ("b", 3))) == [Replacement("b", '<tr id="b"><td>3</td></tr>')]
    moved = table(("b", 2), ("a", 1))
    assert list_replacements(before, moved) == [Replacement("f", moved[0].html)]


def test_an_age_is_no_change_and_is_written_when_it_is_sent() -> None:
    html = '<time data-at="1000">§</time>'
    assert fill_ages(html, 62_000) == '<time data-at="1000">1 min 1 s</time>'
    assert fill_ages(html, 0) == '<time data-at="1000">0 s</time>'
