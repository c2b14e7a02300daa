"""Finds the address of a node, checks it, and has an exchange with it: what all probes do alike."""

from __future__ import annotations

import asyncio
import inspect
import logging
import ssl
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future

from edge_redis._core import validation
from edge_redis._io.user_functions import make_awaitable
from edge_redis.errors import InvalidArgumentError, InvalidTypeError, ProbeRefusedError
from edge_redis.probes import _asyncio, _blocking
from edge_redis.probes._exchange import Dialogue
from edge_redis.probes._lookup import Place, look_up
from edge_redis.probes._networks import AllowedNetworks, Network, unwrap
from edge_redis.probes._no_answer import NoAnswerError, explain
from edge_redis.probes._target import ADDRESS, Target, TargetTemplate, refuse

_log = logging.getLogger("edge_redis")


class Targets:
    """The operator's targets: one template for all nodes, or one for each node's id."""

    def __init__(self, target: str | Mapping[str, str], ports: dict[str, int | None], *, scheme: str = "") -> None:
        if not isinstance(target, (str, Mapping)):
            raise validation.type_error("target", target, "text, or a mapping of node ids to texts")
        self._by_id = {
            validation.check_identifier("node id", node_id): TargetTemplate(text, ports, scheme=scheme)
            for node_id, text in (target.items() if isinstance(target, Mapping) else ())
        }
        self._for_all = TargetTemplate(target, ports, scheme=scheme) if isinstance(target, str) else None

    @property
    def schemes(self) -> set[str]:
        """The schemes of all targets."""
        return {template.scheme for template in self._templates}

    @property
    def needs_address(self) -> bool:
        """Whether any target is filled in with an address that is looked up for the node."""
        return any(template.needs_address for template in self._templates)

    @property
    def _templates(self) -> list[TargetTemplate]:
        return [*self._by_id.values(), *([self._for_all] if self._for_all else [])]

    def template(self, node_id: str) -> TargetTemplate:
        """Return the template for a node.

        Raises:
            ProbeRefusedError: there is none.

        """
        found = self._for_all or self._by_id.get(node_id)
        if found is None:
            raise ProbeRefusedError(f"node {node_id!r} cannot be probed: no target is given for it")
        return found


class Prober:
    """Has a dialogue with nodes, by blocking calls and on asyncio loops."""

    def __init__(
        self,
        targets: Targets,
        dialogue: Dialogue,
        *,
        address_of: Callable[[str], object] | None,
        networks: Iterable[str | Network] | None,
        timeout: float,
    ) -> None:
        if targets.needs_address != (address_of is not None):
            raise InvalidArgumentError(f"a target with {ADDRESS} needs address_of=, and no other target takes it")
        if address_of is not None and networks is None:
            raise InvalidArgumentError("address_of= needs networks=: name the networks of your nodes")
        self._targets = targets
        self._dialogue = dialogue
        self._address_of = None if address_of is None else validation.check_callable("address_of", address_of)
        self._networks = AllowedNetworks(networks)
        self._timeout = validation.check_positive("timeout", timeout)

    def ask(self, node_id: str) -> bool:
        """Return whether a node answers."""
        validation.check_identifier("node id", node_id)
        address = None if self._address_of is None else self._address_of(node_id)
        if inspect.isawaitable(address):
            if inspect.iscoroutine(address):
                address.close()
            raise InvalidTypeError("address_of is for asyncio: await the probe's method aio")
        target = self._fill(node_id, address)
        deadline = _blocking.Deadline(self._timeout)
        try:
            found = self._find_places(target)
            places = found if isinstance(found, list) else _blocking.wait_for(found, deadline)
            exchange = self._dialogue.open(target)
            _blocking.run(self._check(node_id, target, places), exchange, self._dialogue, deadline)
        except (NoAnswerError, OSError) as error:
            return _log_failure(node_id, target, error)
        return True

    async def ask_async(self, node_id: str) -> bool:
        """Return whether a node answers."""
        validation.check_identifier("node id", node_id)
        address = None if self._address_of is None else await make_awaitable(self._address_of)(node_id)
        target = self._fill(node_id, address)
        begun = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout):
                found = self._find_places(target)
                places = found if isinstance(found, list) else await asyncio.wrap_future(found)
                allowed = self._check(node_id, target, places)
                left = self._timeout - (time.monotonic() - begun)
                await _asyncio.run(allowed, self._dialogue.open(target), self._dialogue, left)
        except (NoAnswerError, OSError) as error:
            return _log_failure(node_id, target, error)
        return True

    def _fill(self, node_id: str, address: object) -> Target:
        template = self._targets.template(node_id)
        if template.needs_address and address is None:
            raise ProbeRefusedError(f"node {node_id!r} cannot be probed: it has no address")
        try:
            return template.fill(node_id, address)  # type: ignore[arg-type] # its type is checked where it is used
        except (InvalidArgumentError, InvalidTypeError) as error:
            raise refuse(error, node_id) from error

    @staticmethod
    def _find_places(target: Target) -> list[Place] | Future[list[Place]]:
        if target.address is not None:
            return [Place(unwrap(target.address), target.port)]
        return look_up(target.host, target.port)

    def _check(self, node_id: str, target: Target, places: Sequence[Place]) -> Sequence[Place]:
        """Return the places, each of which is allowed; one that is not makes the whole name suspicious."""
        if target.is_named and target.address is not None:  # the operator named this address
            return places
        for place in places:
            refusal = self._networks.find_refusal(place.address)
            if refusal:
                raise ProbeRefusedError(f"node {node_id!r} cannot be probed at {target.authority}: {refusal}")
        return places


def _log_failure(node_id: str, target: Target, error: Exception) -> bool:
    reason = str(error) if isinstance(error, NoAnswerError) else explain(error)
    _log.warning("node %r does not answer at %s: %s", node_id, target.authority, reason)
    return False


def check_context(context: ssl.SSLContext | None) -> ssl.SSLContext:
    """Return a client's TLS context: the given one, or one that trusts the authorities of the system."""
    if context is None:
        return ssl.create_default_context()
    checked: ssl.SSLContext = validation.check_instance("context", context, ssl.SSLContext)
    return checked
