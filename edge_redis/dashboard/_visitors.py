"""Visitors of the page and their rights: tokens, signed session cookies, and protection of actions."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection, Request

from edge_redis._core import validation
from edge_redis.errors import InvalidArgumentError

SESSION_COOKIE: Final = "edge_redis_session"
CSRF_COOKIE: Final = "edge_redis_csrf"
SESSION_SECONDS: Final = 12 * 3600
MIN_TOKEN_CHARS: Final = 16


@dataclass(frozen=True, slots=True)
class Visitor:
    """A visitor of the page. ``name`` is recorded with each action; ``may_act`` allows actions."""

    name: str = ""
    may_act: bool = False


Identify: TypeAlias = Callable[[HTTPConnection], Visitor | Awaitable[Visitor | None] | None]
"""Returns the visitor that makes a request, by the sign-in of the application around the page; None refuses it."""


class Tokens:
    """The tokens of viewers and operators, and the sessions that begin with them.

    Args:
        viewers: name -> token, of visitors who may read.
        operators: name -> token, of visitors who may also act.
        secret: signs sessions; by default made of the tokens, so that all processes with the same tokens agree.

    Raises:
        InvalidArgumentError: a token is too short, or two are the same.

    """

    def __init__(
        self, viewers: Mapping[str, str], operators: Mapping[str, str], secret: str | None, clock: Callable[[], float]
    ) -> None:
        both = [*viewers.items(), *operators.items()]
        for name, token in both:
            validation.check_identifier("the name of a token", name)
            if len(validation.check_instance("token", token, str)) < MIN_TOKEN_CHARS:
                raise InvalidArgumentError(f"the token of {name!r} is shorter than {MIN_TOKEN_CHARS} characters")
        if len({token for _, token in both}) < len(both):
            raise InvalidArgumentError("two names have the same token")
        self._visitors = [(token.encode(), Visitor(name)) for name, token in viewers.items()]
        self._visitors += [(token.encode(), Visitor(name, may_act=True)) for name, token in operators.items()]
        material = secret or ("\0".join(token for _, token in both) if both else secrets.token_hex(32))
        self._key = hashlib.blake2b(b"edge-redis dashboard\0" + material.encode()).digest()
        self._clock = clock

    def __bool__(self) -> bool:
        """Whether there is any token."""
        return bool(self._visitors)

    def find(self, token: str) -> Visitor | None:
        """Return the visitor with this token, None for a wrong one; all wrong tokens take the same time."""
        given = token.encode()
        found = [visitor for known, visitor in self._visitors if hmac.compare_digest(known, given)]
        return found[0] if found else None

    def make_session(self, visitor: Visitor) -> str:
        """Return the value of a session's cookie."""
        facts = [visitor.name, visitor.may_act, int(self._clock()) + SESSION_SECONDS]
        body = base64.urlsafe_b64encode(json.dumps(facts).encode()).decode()
        return f"{body}.{self.sign('session', body)}"

    def read_session(self, cookie: str) -> Visitor | None:
        """Return the visitor of a session; None if the cookie is forged or expired, or the token was removed."""
        body, _, signature = cookie.partition(".")
        if not hmac.compare_digest(signature.encode(), self.sign("session", body).encode()):
            return None
        try:
            name, may_act, expires = json.loads(base64.urlsafe_b64decode(body))
        except (ValueError, binascii.Error):
            return None
        visitor = Visitor(name, may_act=may_act)
        is_known = any(visitor == known for _, known in self._visitors)
        return visitor if is_known and expires > self._clock() else None

    def sign(self, purpose: str, text: str) -> str:
        """Return a signature, of this purpose only."""
        return hmac.new(self._key, f"{purpose}\0{text}".encode(), hashlib.sha256).hexdigest()


def default_clock() -> float:
    """Return the Unix time in seconds."""
    return time.time()


def is_own_form(request: Request, tokens: Tokens, given: str) -> bool:
    """Return whether a form was sent from a page of this application: by its origin and its CSRF token."""
    cookie = request.cookies.get(CSRF_COOKIE, "")
    is_signed = bool(cookie) and hmac.compare_digest(given.encode(), tokens.sign("csrf", cookie).encode())
    return is_signed and is_same_origin(request)


def is_same_origin(request: Request) -> bool:
    """Return whether a request comes from a page of the host that it is sent to."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc == request.headers.get("host")
