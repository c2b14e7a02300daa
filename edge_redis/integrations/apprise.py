"""Notifications by mail, Slack, PagerDuty, Telegram and over a hundred other services, through Apprise.

    from edge_redis import TransitionRelay
    from edge_redis.integrations.apprise import AppriseSink

    relay = TransitionRelay(client, AppriseSink("mailto://user:password@shop.example?to=ops@shop.example"),
                            states=("unhealthy", "recovered"))

The addresses are those of Apprise: https://appriseit.com/services/. Needs the extra: ``pip install
'edge-redis[notify]'``.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import Template
from typing import Any, Final

from edge_redis._core import validation
from edge_redis._core.public import publish
from edge_redis.errors import DeliveryError, InvalidArgumentError, MissingExtraError
from edge_redis.models import Transition

try:
    import apprise
except ImportError as error:
    raise MissingExtraError("notifications need Apprise: pip install 'edge-redis[notify]'") from error

__all__ = ["DEFAULT_BODY", "DEFAULT_TITLE", "AppriseSink"]

DEFAULT_TITLE: Final = "$label is $state"
DEFAULT_BODY: Final = "$reason\nsite $namespace, node $label, location $location, was $previous, at $at UTC"

_KINDS: Final = {
    "unhealthy": "failure",
    "mass_outage": "failure",
    "suspected": "warning",
    "flapping": "warning",
    "transitions_lost": "warning",
    "recovered": "success",
    "healthy": "success",
    "mass_outage_over": "success",
}


class AppriseSink:
    """Send each transition as a message to one or more addresses.

    A sink for TransitionRelay: a message that cannot be sent to every address is a failed delivery, which the relay
    repeats, to all addresses.

    Args:
        urls: addresses, as Apprise writes them.
        title: a ``string.Template`` for the message's title. Fields: ``$label`` (the node's name and id), ``$node``,
            ``$name``, ``$location``, ``$namespace``, ``$state``, ``$previous``, ``$reason``, ``$at``, ``$link``.
        body: a template for the message's text.
        link: a template for ``$link``, such as ``https://ops.example/s/shop/node?id=$node``; it is added to a body
            that does not name it.

    Raises:
        InvalidArgumentError: no address, one that Apprise does not know, or a template with an unknown field.

    """

    def __init__(
        self, urls: str | Sequence[str], *, title: str = DEFAULT_TITLE, body: str = DEFAULT_BODY, link: str = ""
    ) -> None:
        addresses = [urls] if isinstance(urls, str) else list(urls)
        if not addresses:
            raise InvalidArgumentError("urls must name at least one address")
        self._apprise = apprise.Apprise()
        for number, address in enumerate(addresses, 1):
            validation.check_text("address", address)
            if not self._apprise.add(address):  # it may hold a password: it is not repeated
                scheme = address.partition("://")[0] if "://" in address else "no scheme"
                raise InvalidArgumentError(f"address {number} ({scheme}) is none that Apprise can send to")
        self._title, self._body, self._link = (
            _check_template(name, text) for name, text in (("title", title), ("body", body), ("link", link))
        )
        self._adds_link = bool(link) and "$link" not in body and "${link}" not in body

    def __call__(self, change: Transition) -> None:
        """Send one transition.

        Raises:
            DeliveryError: it could not be sent to every address.

        """
        fields = _fields(change)
        fields["link"] = self._link.substitute(fields, link="")
        body = self._body.substitute(fields)
        if self._adds_link:
            body += f"\n{fields['link']}"
        kind: Any = _KINDS.get(change.state, "info")
        if not self._apprise.notify(title=self._title.substitute(fields), body=body, notify_type=kind):
            raise DeliveryError("a notification was not sent to every address; the log of apprise says why")


def _fields(change: Transition) -> dict[str, str]:
    node = change.node_id or "(fleet)"
    return {
        "label": f"{change.node_name} ({node})" if change.node_name and change.node_name != node else node,
        "node": change.node_id,
        "name": change.node_name,
        "location": change.location or "unknown",
        "namespace": change.namespace,
        "state": change.state,
        "previous": change.previous,
        "reason": change.reason,
        "at": f"{change.at:%Y-%m-%d %H:%M:%S}",
    }


_EXAMPLE: Final = ("label", "node", "name", "location", "namespace", "state", "previous", "reason", "at", "link")


def _check_template(name: str, text: str) -> Template:
    template = Template(validation.check_text(name, text))
    try:
        template.substitute(dict.fromkeys(_EXAMPLE, ""))
    except KeyError as error:
        known = ", ".join(f"${field}" for field in _EXAMPLE)
        raise InvalidArgumentError(f"{name}: there is no field ${error.args[0]}; there are {known}") from error
    except ValueError as error:
        raise InvalidArgumentError(f"{name}: {error}; write $$ for a dollar sign") from error
    return template


publish(__name__, globals(), __all__)
