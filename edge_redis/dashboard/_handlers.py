"""Answers the requests: pages, streams of their changes, actions and files."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from edge_redis._site.state import BriefState
from edge_redis.dashboard._actions import ACTIONS, NOTICES
from edge_redis.dashboard._fragments import fill_ages
from edge_redis.dashboard._hub import Hub
from edge_redis.dashboard._query import Query
from edge_redis.dashboard._renderer import STATIC, ViewKey, read_static
from edge_redis.dashboard._requests import base_path, read_form
from edge_redis.dashboard._responses import Responder, visitor_of
from edge_redis.dashboard._sites import Site
from edge_redis.dashboard._views import VIEWS
from edge_redis.dashboard._visitors import is_own_form
from edge_redis.errors import EdgeRedisError, InvalidArgumentError, InvalidTypeError, StoreError

_log: Final = logging.getLogger("edge_redis")


class Handlers:
    """The pages, streams and actions of one dashboard."""

    def __init__(self, sites: Mapping[str, Site], hub: Hub, responder: Responder) -> None:
        self._sites = sites
        self._hub = hub
        self._responder = responder
        self._renderer = responder.renderer

    async def show_sites(self, request: Request) -> Response:
        """Show the list of sites, or the only one."""
        if len(self._sites) == 1:
            return RedirectResponse(f"{base_path(request)}/s/{next(iter(self._sites))}/", 303)
        rows: list[tuple[Site, BriefState | None, str]] = []
        for site in self._sites.values():
            try:
                rows.append((site, await site.reader.brief(), ""))
            except EdgeRedisError as error:
                rows.append((site, None, str(error)))
        common = self._responder.common(request)
        html = self._renderer.page("sites.html", title="Sites", rows=rows, **common)
        return self._responder.respond(request, html, common)

    def _find_view(self, request: Request) -> ViewKey | None:
        slug, name = request.path_params["slug"], request.path_params.get("name", "overview")
        if slug not in self._sites or name not in VIEWS:
            return None
        visitor = visitor_of(request)
        return ViewKey(slug, name, Query.of(request.query_params), visitor.may_act, base_path(request))

    async def show_view(self, request: Request) -> Response:
        """Show a view as a whole page."""
        key = self._find_view(request)
        if key is None:
            return self._responder.message(
                request, "Not found", "There is no such page.", 404, f"{base_path(request)}/"
            )
        frame = await self._hub.frame(key)
        common = self._responder.common(request)
        notice = NOTICES.get(request.query_params.get("notice", ""), "")
        html = self._renderer.view_page(key, frame, notice=notice, **common)
        status = 503 if frame.is_broken else 200 if frame.is_found else 404
        return self._responder.respond(request, html, common, status)

    async def stream(self, request: Request) -> Response:
        """Stream the changes of a view."""
        key = self._find_view(request)
        if key is None:
            return Response("no such view", 404, media_type="text/plain")
        if self._hub.is_full:
            return Response("too many open pages", 503, {"Retry-After": "10"}, media_type="text/plain")
        after = request.headers.get("last-event-id") or request.query_params.get("after", "")
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(self._messages(key, after), headers=headers, media_type="text/event-stream")

    async def _messages(self, key: ViewKey, after: str) -> AsyncIterator[str]:
        yield "retry: 1000\n\n"
        async with aclosing(self._hub.follow(key, after)) as frames:  # closed with the connection, not later
            async for number, changes in frames:
                if not changes:
                    yield ": no change\n\n"
                    continue
                now_ms = self._renderer.now_ms
                swaps = [[change.id, fill_ages(change.html, now_ms)] for change in changes]
                data = json.dumps({"now": round(now_ms), "swaps": swaps}, ensure_ascii=False, separators=(",", ":"))
                yield f"id: {number}\ndata: {data}\n\n"

    async def act(self, request: Request) -> Response:
        """Perform an operator's action."""
        visitor = visitor_of(request)
        site = self._sites.get(request.path_params["slug"])
        action = ACTIONS.get(request.path_params["name"])
        if site is None or action is None:
            return self._responder.message(request, "Not found", "There is no such action.", 404)
        if not visitor.may_act:
            return self._responder.message(request, "Not allowed", "Only an operator may do this: sign in as one.", 403)
        form = await read_form(request)
        if not is_own_form(request, self._responder.tokens, form.get("csrf", "")):
            return self._responder.message(
                request, "Not done", "The form is not from this page, or too old: go back.", 403
            )
        home = f"{base_path(request)}/s/{site.slug}/"
        try:
            done = await action(site.reader, form, visitor)
        except StoreError as error:
            return self._responder.message(request, "Not done", str(error), 503, home)
        except EdgeRedisError as error:
            status = 400 if isinstance(error, (InvalidArgumentError, InvalidTypeError)) else 409
            return self._responder.message(request, "Not done", str(error), status, home)
        finally:
            site.reader.refresh()
            self._hub.forget()
        _log.info("%s: %s by %s", site.title, request.path_params["name"], visitor.name)
        joint = "&" if "?" in done.page else "?"
        return RedirectResponse(f"{home}{done.page}{joint}notice={done.notice}", 303)

    async def send_static(self, request: Request) -> Response:
        """Send a file of the page."""
        name = request.path_params["name"]
        if name not in STATIC:
            return Response("no such file", 404, media_type="text/plain")
        headers = {"Cache-Control": "public, max-age=31536000, immutable"}  # the URL carries the file's digest
        return Response(read_static(name), headers=headers, media_type=STATIC[name])
