"""Sign-in with a token."""

from __future__ import annotations

import logging
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from edge_redis.dashboard._requests import base_path, read_form, safe_path
from edge_redis.dashboard._responses import Responder
from edge_redis.dashboard._visitors import SESSION_COOKIE, SESSION_SECONDS, is_own_form

_log: Final = logging.getLogger("edge_redis")


class SignIn:
    """Begins and ends the sessions of one dashboard."""

    def __init__(self, responder: Responder) -> None:
        self._responder = responder

    async def sign_in(self, request: Request) -> Response:
        """Show the form, or begin a session with the token in it."""
        if request.method == "GET":
            return self._form(request, request.query_params.get("next", ""))
        form = await read_form(request)
        wanted = form.get("next", "")
        if not is_own_form(request, self._responder.tokens, form.get("csrf", "")):
            return self._form(request, wanted, failed=True)
        visitor = self._responder.tokens.find(form.get("token", ""))
        if visitor is None:
            _log.warning("a sign-in with a wrong token from %s", request.client.host if request.client else "unknown")
            return self._form(request, wanted, failed=True)
        response = RedirectResponse(base_path(request) + safe_path(wanted), 303)
        self._responder.set_cookie(
            request, response, SESSION_COOKIE, self._responder.tokens.make_session(visitor), SESSION_SECONDS
        )
        return response

    def _form(self, request: Request, wanted: str, *, failed: bool = False) -> Response:
        common = self._responder.common(request)
        html = self._responder.renderer.page(
            "sign_in.html",
            title="Sign in",
            failed=failed,
            next=wanted,
            **common,
        )
        return self._responder.respond(request, html, common, 403 if failed else 200)

    async def sign_out(self, request: Request) -> Response:
        """End the session."""
        form = await read_form(request)
        if not is_own_form(request, self._responder.tokens, form.get("csrf", "")):
            return self._responder.message(
                request, "Not done", "The form is not from this page, or too old: go back.", 403
            )
        response = RedirectResponse(f"{base_path(request)}/", 303)
        response.delete_cookie(SESSION_COOKIE, path=f"{base_path(request)}/")
        return response
