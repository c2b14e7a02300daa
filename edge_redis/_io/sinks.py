"""Sinks that deliver transitions to a webhook or a command."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence

from edge_redis._core import validation
from edge_redis._io.http_post import Post, check_headers, check_url
from edge_redis.models import Transition


def as_json(change: Transition) -> bytes:
    """Return a transition as JSON: its fields, the time in ISO 8601."""
    return json.dumps(
        {
            "namespace": change.namespace,
            "node_id": change.node_id,
            "name": change.node_name,
            "location": change.location,
            "state": change.state,
            "previous": change.previous,
            "at": change.at.isoformat(),
            "reason": change.reason,
            "position": change.position,
            "event_id": change.event_id,
        }
    ).encode()


class WebhookSink:
    """Post each transition as JSON to a URL.

    The header ``Idempotency-Key`` is the transition's ``event_id``: the same when a transition is sent again, and
    different for every other transition, at other sites too. Any answer but a 2xx status is a failure. Redirects are
    not followed, since they would turn the request into an empty one, or send its headers to another host. The pause
    that ``Retry-After`` asks for is respected.

    Args:
        url: begins with http:// or https://.
        timeout: seconds for the whole request, from the look-up of the name to the end of the answer's headers.
        headers: further headers of each request, such as one with a token.

    """

    def __init__(self, url: str, *, timeout: float = 5.0, headers: Mapping[str, str] | None = None) -> None:
        self._url = check_url(url)
        self._timeout = validation.check_positive("timeout", timeout)
        self._headers = {"Content-Type": "application/json", **check_headers(headers or {})}

    def __call__(self, change: Transition) -> None:
        """Post one transition.

        Raises:
            DeliveryError: it was not accepted, or not in time.

        """
        headers = {**self._headers, "Idempotency-Key": change.event_id or change.position}
        Post(self._url, as_json(change), headers, self._timeout).send()


class ExecSink:
    """Run a command for each transition, with the transition as JSON on its standard input.

    An exit status other than 0 is a failure.

    Args:
        command: the program and its arguments; no shell is involved.
        timeout: seconds that the command may take.

    """

    def __init__(self, command: Sequence[str], *, timeout: float = 10.0) -> None:
        if isinstance(command, str) or not command:
            raise validation.type_error("command", command, "a sequence of words")
        self._command = [validation.check_identifier("command", word, limit=1 << 17) for word in command]
        self._timeout = validation.check_positive("timeout", timeout)

    def __call__(self, change: Transition) -> None:
        """Run the command for one transition."""
        subprocess.run(self._command, input=as_json(change), timeout=self._timeout, check=True)  # noqa: S603 -- the user's own
