"""Makes the responses: whole pages for a visitor, with the cookie that protects forms."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from edge_redis.dashboard._renderer import Renderer
from edge_redis.dashboard._requests import base_path
from edge_redis.dashboard._visitors import CSRF_COOKIE, Tokens, Visitor

VISITOR: Final = "edge_redis.visitor"
"""The key of the visitor in a request's scope."""


def visitor_of(request: Request) -> Visitor:
    """Return the visitor that makes a request."""
    found: Visitor | None = request.scope[VISITOR]
    return found or Visitor()


class Responder:
    """Makes the responses of one dashboard."""

    def __init__(self, renderer: Renderer, tokens: Tokens) -> None:
        self.renderer = renderer
        self.tokens = tokens

    def common(self, request: Request) -> dict[str, Any]:
        """Return the values that every page needs of its visitor."""
        cookie = request.cookies.get(CSRF_COOKIE) or secrets.token_hex(16)
        return {
            "base": base_path(request),
            "visitor": visitor_of(request),
            "has_sign_in": bool(self.tokens),
            "csrf": self.tokens.sign("csrf", cookie),
            "csrf_cookie": cookie,
        }

    def respond(self, request: Request, html: str, common: Mapping[str, Any], status: int = 200) -> Response:
        """Return a page as a response."""
        response = HTMLResponse(html, status, headers={"Cache-Control": "no-store"})
        if request.cookies.get(CSRF_COOKIE) != common["csrf_cookie"]:
            self.set_cookie(request, response, CSRF_COOKIE, common["csrf_cookie"])
        return response

    def set_cookie(self, request: Request, response: Response, name: str, value: str, seconds: int = -1) -> None:
        """Set a cookie that scripts and other sites cannot use; without ``seconds``, until the browser ends."""
        response.set_cookie(
            name,
            value,
            max_age=None if seconds < 0 else seconds,
            path=f"{base_path(request)}/",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )

    def message(self, request: Request, title: str, message: str, status: int, link: str = "") -> Response:
        """Return a page with a message."""
        common = self.common(request)
        html = self.renderer.page("message.html", title=title, message=message, link=link, link_text="back", **common)
        return self.respond(request, html, common, status)
