"""The ASGI application: its routes, and the sign-in that they need."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from edge_redis._core import validation
from edge_redis._services.aio.bundle import EdgeRedis
from edge_redis.dashboard._handlers import Handlers
from edge_redis.dashboard._hub import Hub
from edge_redis.dashboard._renderer import Renderer
from edge_redis.dashboard._requests import SecurityHeaders, base_path, own_path
from edge_redis.dashboard._responses import VISITOR, Responder
from edge_redis.dashboard._sign_in import SignIn
from edge_redis.dashboard._sites import Cloud, Site, make_sites
from edge_redis.dashboard._visitors import SESSION_COOKIE, Identify, Tokens, Visitor, default_clock
from edge_redis.errors import InvalidArgumentError

_MAX_STREAMS: Final = 200


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

    Nothing is read while no page is open. Every visitor may read, and none may act, unless tokens or ``identify`` are
    given: serve it beyond this machine only with ``require_sign_in`` or ``identify``.

    Args:
        sites: the services of each site, by the title under which it is shown, or those of a single site.
        clouds: the cloud of each site by its title, as in CloudWorker; by default the site's own server.
        viewers: name -> token of visitors who may read.
        operators: name -> token of visitors who may also act: maintenance, dead letters, conflicts. A token
            has at least 16 characters. The name is recorded with each action.
        require_sign_in: whether reading needs a token.
        identify: a function, or coroutine function, that returns the visitor of a request, by the sign-in of the
            application in which this one is mounted; in place of tokens. None refuses the request.
        secret: signs cookies; by default made of the tokens. Give one where several processes serve the page
            with ``identify``.
        allowed_hosts: names under which the page may be asked for, such as ``("localhost",)``; ``"*"`` any.
        interval_seconds: seconds between two readings while a page is open.
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
        responder = Responder(Renderer(sites), tokens)
        self._hub = Hub(
            responder.renderer.render,
            interval_seconds=interval_seconds,
            stream_seconds=stream_seconds,
            max_streams=_MAX_STREAMS,
        )
        handlers, sessions = Handlers(sites, self._hub, responder), SignIn(responder)
        routes = [
            Route("/", handlers.show_sites),
            Route("/s/{slug}/", handlers.show_view),
            Route("/s/{slug}/{name}", handlers.show_view),
            Route("/live/{slug}/{name}", handlers.stream),
            Route("/act/{slug}/{name}", handlers.act, methods=["POST"]),
            Route("/static/{name}", handlers.send_static),
            Route("/sign-in", sessions.sign_in, methods=["GET", "POST"]),
            Route("/sign-out", sessions.sign_out, methods=["POST"]),
        ]
        middleware = [
            Middleware(SecurityHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=list(allowed_hosts), www_redirect=False),
        ]
        self._app = Starlette(routes=routes, middleware=middleware)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] == "http":
            if not scope["query_string"].isascii():  # Starlette fails on some; no browser sends them
                await SecurityHeaders(Response("not a URL", 400, media_type="text/plain"))(scope, receive, send)
                return
            visitor = await self._identify_visitor(HTTPConnection(scope))
            scope = {**scope, VISITOR: visitor}
            if visitor is None and not self._is_open(scope):
                await self._refuse(Request(scope, receive))(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def close(self) -> None:
        """End all streams and close the readers of the sites; the sites' services stay open."""
        await self._hub.close()
        for site in self._sites.values():
            await site.reader.close()

    @property
    def streams(self) -> int:
        """Number of pages that are open in browsers now."""
        return self._hub.streams

    async def _identify_visitor(self, connection: HTTPConnection) -> Visitor | None:
        if self._identify is not None:
            found = self._identify(connection)
            return await found if inspect.isawaitable(found) else found
        visitor = self._tokens.read_session(connection.cookies.get(SESSION_COOKIE, ""))
        return visitor or (None if self._require_sign_in else Visitor())

    def _is_open(self, scope: Scope) -> bool:
        """Return whether a path needs no sign-in: the form for it, and the files that it uses."""
        path = own_path(scope)
        return path.startswith("/static/") or (path == "/sign-in" and self._identify is None)

    def _refuse(self, request: Request) -> ASGIApp:
        is_page = request.method == "GET" and not own_path(request.scope).startswith("/live/")
        if is_page and self._identify is None:
            wanted = urlencode(
                {"next": own_path(request.scope) + (f"?{request.url.query}" if request.url.query else "")}
            )
            return SecurityHeaders(RedirectResponse(f"{base_path(request)}/sign-in?{wanted}", 303))
        return SecurityHeaders(Response("sign in first", 401, media_type="text/plain"))
