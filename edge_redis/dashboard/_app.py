"""The ASGI application: pages, streams of their changes, actions, and sign-in."""

from __future__ import annotations

import inspect
import json
import logging
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge_redis._core import validation
from edge_redis._services.aio.bundle import EdgeRedis
from edge_redis._site.state import BriefState
from edge_redis.dashboard._actions import ACTIONS, NOTICES
from edge_redis.dashboard._fragments import fill_ages
from edge_redis.dashboard._hub import Hub
from edge_redis.dashboard._query import Query
from edge_redis.dashboard._renderer import STATIC, Renderer, ViewKey, read_static
from edge_redis.dashboard._sites import Cloud, Site, make_sites
from edge_redis.dashboard._views import VIEWS
from edge_redis.dashboard._visitors import (
    CSRF_COOKIE,
    SESSION_COOKIE,
    SESSION_SECONDS,
    Identify,
    Tokens,
    Visitor,
    default_clock,
    is_own_form,
)
from edge_redis.errors import EdgeRedisError, InvalidArgumentError, InvalidTypeError, StoreError

_log: Final = logging.getLogger("edge_redis")
_MAX_STREAMS: Final = 200
_MAX_FORM_BYTES: Final = 1_000_000
_VISITOR: Final = "edge_redis.visitor"
_HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)


def dashboard(
    sites: EdgeRedis | Mapping[str, EdgeRedis],
    *,
    clouds: Mapping[str, Cloud] | None = None,
    viewers: Mapping[str, str] | None = None,
    operators: Mapping[str, str] | None = None,
    require_sign_in: bool = False,
    identify: Identify | None = None,
    secret: str | None = None,
    allowed_hosts: Sequence[str] = ("*",),
    interval_seconds: float = 1.0,
    stream_seconds: float = 30.0,
) -> Dashboard:
    """Return the page as an ASGI application, to be served or to be mounted in another.

    Nothing is read while nobody looks. Anybody may look, and nobody may act, unless tokens or ``identify`` are
    given: serve it beyond this machine only with ``require_sign_in`` or ``identify``.

    Args:
        sites: the services of each site, by the title under which it is shown, or those of a single site.
        clouds: the cloud of each site by its title, as in CloudWorker; by default the site's own server.
        viewers: name -> token of those who may look.
        operators: name -> token of those who may also act: maintenance, dead letters, conflicts. A token
            has at least 16 characters. The name is recorded with each action.
        require_sign_in: whether looking needs a token.
        identify: a function, or coroutine function, that returns who makes a request, by the sign-in of the
            application in which this one is mounted; in place of tokens. None refuses the request.
        secret: signs cookies; by default made of the tokens. Give one where several processes serve the page
            with ``identify``.
        allowed_hosts: names under which the page may be asked for, such as ``("localhost",)``; ``"*"`` any.
        interval_seconds: between two readings while somebody looks.
        stream_seconds: how long a browser's stream lasts before it is opened again; a server that shuts
            down waits for open streams this long, unless ``close`` is called first.

    Raises:
        InvalidArgumentError: no site, a token that is too short, or sign-in required without tokens.
        InvalidTypeError: a site is no ``edge_redis.aio.EdgeRedis``.

    """
    validation.check_positive("interval_seconds", interval_seconds)
    validation.check_positive("stream_seconds", stream_seconds)
    tokens = Tokens(viewers or {}, operators or {}, secret, default_clock)
    if identify is not None and tokens:
        raise InvalidArgumentError("give tokens or identify, not both")
    if require_sign_in and not tokens and identify is None:
        raise InvalidArgumentError("require_sign_in needs viewers, operators or identify")
    if identify is not None:
        validation.check_callable("identify", identify)
    return Dashboard(
        make_sites(sites, clouds),
        tokens=tokens,
        require_sign_in=require_sign_in,
        identify=identify,
        allowed_hosts=allowed_hosts,
        interval_seconds=interval_seconds,
        stream_seconds=stream_seconds,
    )


class Dashboard:
    """The page as an ASGI application, as ``dashboard`` returns it."""

    def __init__(
        self,
        sites: Mapping[str, Site],
        *,
        tokens: Tokens,
        require_sign_in: bool,
        identify: Identify | None,
        allowed_hosts: Sequence[str],
        interval_seconds: float,
        stream_seconds: float,
    ) -> None:
        self._sites = sites
        self._tokens = tokens
        self._require_sign_in = require_sign_in
        self._identify = identify
        self._renderer = Renderer(sites)
        self._hub = Hub(
            self._renderer.render,
            interval_seconds=interval_seconds,
            stream_seconds=stream_seconds,
            max_streams=_MAX_STREAMS,
        )
        routes = [
            Route("/", self._show_sites),
            Route("/s/{slug}/", self._show_view),
            Route("/s/{slug}/{name}", self._show_view),
            Route("/live/{slug}/{name}", self._stream),
            Route("/act/{slug}/{name}", self._act, methods=["POST"]),
            Route("/static/{name}", self._send_static),
            Route("/sign-in", self._sign_in, methods=["GET", "POST"]),
            Route("/sign-out", self._sign_out, methods=["POST"]),
        ]
        middleware = [
            Middleware(_SecurityHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=list(allowed_hosts), www_redirect=False),
        ]
        self._app = Starlette(routes=routes, middleware=middleware)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] == "http":
            visitor = await self._identify_visitor(HTTPConnection(scope))
            scope = {**scope, _VISITOR: visitor}
            if visitor is None and not self._is_open(scope):
                await self._refuse(Request(scope, receive))(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def close(self) -> None:
        """End all streams and close what was opened here; the sites' services stay open."""
        await self._hub.close()
        for site in self._sites.values():
            await site.reader.close()

    @property
    def streams(self) -> int:
        """Number of browsers that look at a page now."""
        return self._hub.streams

    async def _identify_visitor(self, connection: HTTPConnection) -> Visitor | None:
        if self._identify is not None:
            found = self._identify(connection)
            return await found if inspect.isawaitable(found) else found
        visitor = self._tokens.read_session(connection.cookies.get(SESSION_COOKIE, ""))
        return visitor or (None if self._require_sign_in else Visitor())

    def _is_open(self, scope: Scope) -> bool:
        """Whether a path needs no sign-in: the form for it, and the files that it uses."""
        path = _path(scope)
        return path.startswith("/static/") or (path == "/sign-in" and self._identify is None)

    def _refuse(self, request: Request) -> ASGIApp:
        is_page = request.method == "GET" and not _path(request.scope).startswith("/live/")
        if is_page and self._identify is None:
            wanted = urlencode({"next": _path(request.scope) + (f"?{request.url.query}" if request.url.query else "")})
            return _SecurityHeaders(RedirectResponse(f"{_base(request)}/sign-in?{wanted}", 303))
        return _SecurityHeaders(Response("sign in first", 401, media_type="text/plain"))

    def _common(self, request: Request) -> dict[str, Any]:
        """Return what every page shows of its visitor."""
        cookie = request.cookies.get(CSRF_COOKIE) or secrets.token_hex(16)
        return {
            "base": _base(request),
            "visitor": request.scope[_VISITOR] or Visitor(),
            "has_sign_in": bool(self._tokens),
            "csrf": self._tokens.sign("csrf", cookie),
            "csrf_cookie": cookie,
        }

    def _respond(self, request: Request, html: str, common: Mapping[str, Any], status: int = 200) -> Response:
        response = HTMLResponse(html, status, headers={"Cache-Control": "no-store"})
        if request.cookies.get(CSRF_COOKIE) != common["csrf_cookie"]:
            self._set_cookie(request, response, CSRF_COOKIE, common["csrf_cookie"])
        return response

    def _set_cookie(self, request: Request, response: Response, name: str, value: str, seconds: int = -1) -> None:
        response.set_cookie(
            name,
            value,
            max_age=None if seconds < 0 else seconds,
            path=f"{_base(request)}/",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )

    def _message(self, request: Request, title: str, message: str, status: int, link: str = "") -> Response:
        common = self._common(request)
        html = self._renderer.page("message.html", title=title, message=message, link=link, link_text="back", **common)
        return self._respond(request, html, common, status)

    async def _show_sites(self, request: Request) -> Response:
        if len(self._sites) == 1:
            return RedirectResponse(f"{_base(request)}/s/{next(iter(self._sites))}/", 303)
        rows: list[tuple[Site, BriefState | None, str]] = []
        for site in self._sites.values():
            try:
                rows.append((site, await site.reader.brief(), ""))
            except EdgeRedisError as error:
                rows.append((site, None, str(error)))
        common = self._common(request)
        html = self._renderer.page("sites.html", title="Sites", rows=rows, **common)
        return self._respond(request, html, common)

    def _find_view(self, request: Request) -> ViewKey | None:
        slug, name = request.path_params["slug"], request.path_params.get("name", "overview")
        if slug not in self._sites or name not in VIEWS:
            return None
        visitor = request.scope[_VISITOR] or Visitor()
        return ViewKey(slug, name, Query.of(request.query_params), visitor.may_act, _base(request))

    async def _show_view(self, request: Request) -> Response:
        key = self._find_view(request)
        if key is None:
            return self._message(request, "Not found", "There is no such page.", 404, f"{_base(request)}/")
        frame = await self._hub.frame(key)
        common = self._common(request)
        notice = NOTICES.get(request.query_params.get("notice", ""), "")
        html = self._renderer.view_page(key, frame, notice=notice, **common)
        status = 503 if frame.is_broken else 200 if frame.is_found else 404
        return self._respond(request, html, common, status)

    async def _stream(self, request: Request) -> Response:
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
        async for number, changes in self._hub.follow(key, after):
            if not changes:
                yield ": no change\n\n"
                continue
            now_ms = self._renderer.now_ms
            swaps = [[change.id, fill_ages(change.html, now_ms)] for change in changes]
            data = json.dumps({"now": round(now_ms), "swaps": swaps}, ensure_ascii=False, separators=(",", ":"))
            yield f"id: {number}\ndata: {data}\n\n"

    async def _act(self, request: Request) -> Response:
        visitor = request.scope[_VISITOR] or Visitor()
        site = self._sites.get(request.path_params["slug"])
        action = ACTIONS.get(request.path_params["name"])
        if site is None or action is None:
            return self._message(request, "Not found", "There is no such action.", 404)
        if not visitor.may_act:
            return self._message(request, "Not allowed", "Only an operator may do this: sign in as one.", 403)
        form = await _read_form(request)
        if not is_own_form(request, self._tokens, form.get("csrf", "")):
            return self._message(request, "Not done", "The form is not from this page, or too old: go back.", 403)
        home = f"{_base(request)}/s/{site.slug}/"
        try:
            done = await action(site.reader, form, visitor)
        except StoreError as error:
            return self._message(request, "Not done", str(error), 503, home)
        except EdgeRedisError as error:
            status = 400 if isinstance(error, (InvalidArgumentError, InvalidTypeError)) else 409
            return self._message(request, "Not done", str(error), status, home)
        finally:
            site.reader.refresh()
            self._hub.forget()
        _log.info("%s: %s by %s", site.title, request.path_params["name"], visitor.name)
        joint = "&" if "?" in done.page else "?"
        return RedirectResponse(f"{home}{done.page}{joint}notice={done.notice}", 303)

    async def _send_static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in STATIC:
            return Response("no such file", 404, media_type="text/plain")
        headers = {"Cache-Control": "public, max-age=31536000, immutable"}  # the URL carries the file's digest
        return Response(read_static(name), headers=headers, media_type=STATIC[name])

    async def _sign_in(self, request: Request) -> Response:
        if request.method == "GET":
            return self._sign_in_form(request, request.query_params.get("next", ""))
        form = await _read_form(request)
        wanted = form.get("next", "")
        if not is_own_form(request, self._tokens, form.get("csrf", "")):
            return self._sign_in_form(request, wanted, failed=True)
        visitor = self._tokens.find(form.get("token", ""))
        if visitor is None:
            _log.warning("a sign-in with a wrong token from %s", request.client.host if request.client else "unknown")
            return self._sign_in_form(request, wanted, failed=True)
        response = RedirectResponse(_base(request) + _safe_path(wanted), 303)
        self._set_cookie(request, response, SESSION_COOKIE, self._tokens.make_session(visitor), SESSION_SECONDS)
        return response

    def _sign_in_form(self, request: Request, wanted: str, *, failed: bool = False) -> Response:
        common = self._common(request)
        html = self._renderer.page(
            "sign_in.html",
            title="Sign in",
            failed=failed,
            next=wanted,
            **common,
        )
        return self._respond(request, html, common, 403 if failed else 200)

    async def _sign_out(self, request: Request) -> Response:
        form = await _read_form(request)
        if not is_own_form(request, self._tokens, form.get("csrf", "")):
            return self._message(request, "Not done", "The form is not from this page, or too old: go back.", 403)
        response = RedirectResponse(f"{_base(request)}/", 303)
        response.delete_cookie(SESSION_COOKIE, path=f"{_base(request)}/")
        return response


class _SecurityHeaders:
    """Adds the security headers to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _base(request: Request) -> str:
    """Return the path under which this application is mounted."""
    root: str = request.scope.get("root_path", "")
    return root.rstrip("/")


def _path(scope: Scope) -> str:
    """Return the path below the mount."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    return path[len(root) :] if root and path.startswith(root) else path


def _safe_path(wanted: str) -> str:
    """Return a path of this application; any other place becomes the first page."""
    parts = urlsplit(wanted)
    is_own = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return wanted if is_own else "/"


async def _read_form(request: Request) -> dict[str, str]:
    """Return the fields of a form that is sent URL-encoded; an empty dict where it is too long or of another kind."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MAX_FORM_BYTES:
            return {}
    return dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
