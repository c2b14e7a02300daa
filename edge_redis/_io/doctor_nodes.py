"""Finds the servers behind a client: itself, the nodes of a cluster, or what Sentinels know of a service."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import redis
from redis.exceptions import RedisClusterException, RedisError, ResponseError

from edge_redis._io.clients import is_cluster
from edge_redis._io.connect_clients import RedisClient
from edge_redis._io.doctor_finding import Finding

MakeTag: TypeAlias = Callable[[int], str]
"""Makes a hash tag of a number, so that one is found in the slots of each master."""

_SLOTS: Final = 16384
_MOST_TAGS: Final = 10_000
_FEWEST_SENTINELS: Final = 3


@dataclass(frozen=True, slots=True)
class Node:
    """One server to check."""

    client: Any
    kind: Literal["single", "master", "replica"]
    tag: str | None
    """Hash tag of keys that this server serves; None: it serves no slot."""
    address: str | None = None
    """None for a single server, which its URL names."""


@dataclass(frozen=True, slots=True)
class Servers:
    """The servers behind a client, and what the cluster or the Sentinels say of them."""

    nodes: Sequence[Node]
    findings: Sequence[Finding] = ()


@contextmanager
def find_servers(client: Any, make_tag: MakeTag) -> Iterator[Servers]:
    """Find the servers of a client; connections that this takes are closed at the end."""
    with ExitStack() as stack:
        if is_cluster(client):
            yield _find_cluster(client, make_tag, stack)
        elif hasattr(client.connection_pool, "sentinel_manager"):
            yield _find_service(client, make_tag(0), stack)
        else:
            yield Servers([Node(client, "single", make_tag(0))])


def _find_cluster(client: Any, make_tag: MakeTag, stack: ExitStack) -> Servers:
    masters = [
        Node(client.get_redis_connection(each), "master", _find_tag(client, each, make_tag), each.name)
        for each in client.get_primaries()
    ]
    masters.sort(key=_name)
    try:
        known, state = _ask(masters, "CLUSTER NODES"), _ask(masters, "CLUSTER INFO")
    except ResponseError as error:
        text = f"this user may not ask for its nodes, so replicas and failed nodes are not found: {error}"
        return Servers(masters, [Finding("warn", "cluster", text)])
    findings = [_check_slots(state), *_check_members(known)]
    failed = {finding.node for finding in findings if finding.level == "fail"}
    pool, replicas = masters[0].client.connection_pool, []
    for address, facts in sorted(known.items()):  # the layout that clients read leaves out some replicas
        if "slave" in facts["flags"].split(",") and address not in failed:
            host, _, port = address.rpartition(":")
            options = pool.connection_kwargs | {"host": facts.get("hostname") or host, "port": int(port)}
            replica = stack.enter_context(_connect(pool.connection_class, options))
            replicas.append(Node(replica, "replica", make_tag(0), address))
    return Servers([*masters, *replicas], findings)


def _name(node: Node) -> str:
    return str(node.address)


def _ask(nodes: Sequence[Node], command: str) -> Any:
    """Return the reply of the first node that answers.

    Raises:
        RedisError, OSError: none can be reached, or none lets the user run the command.

    """
    failure: Exception | None = None
    for node in nodes:
        try:
            return node.client.execute_command(command)
        except (RedisError, OSError) as error:
            failure = error
    raise failure or redis.ConnectionError("the cluster has no master")


def _find_tag(client: Any, node: Any, make_tag: MakeTag) -> str | None:
    """Return a hash tag in the slots of a master; None where it serves none."""
    for number in range(_MOST_TAGS):
        try:
            if client.get_node_from_key(tag := make_tag(number)).name == node.name:
                return tag
        except (RedisClusterException, RedisError):  # a slot that no master serves
            continue
    return None


def _check_slots(state: Mapping[str, Any]) -> Finding:
    served = int(state.get("cluster_slots_ok", 0))
    if state.get("cluster_state") == "ok" and served == _SLOTS:
        return Finding("ok", "cluster", f"all slots are served, by {state.get('cluster_size')} masters")
    text = f"{_SLOTS - served:,} of {_SLOTS:,} slots are not served, state {state.get('cluster_state')}"
    return Finding("fail", "cluster", f"{text}: see redis-cli --cluster check and fix")


def _check_members(known: Mapping[str, Any]) -> Iterator[Finding]:
    flags = {address: facts["flags"].split(",") for address, facts in known.items()}
    failed = {address for address, found in flags.items() if not {"fail", "fail?", "noaddr"}.isdisjoint(found)}
    for address in sorted(failed):
        yield Finding("fail", "cluster", "this node has failed, by the word of the others", address)
    replicated = {facts["master_id"] for address, facts in known.items() if address not in failed}
    for address in sorted(flags.keys() - failed):
        if "master" in flags[address] and known[address]["slots"] and known[address]["node_id"] not in replicated:
            text = "this master has no replica: when it fails, its slots are not served"
            yield Finding("warn", "cluster", text, address)


def _find_service(client: Any, tag: str, stack: ExitStack) -> Servers:
    pool = client.connection_pool
    manager, service = pool.sentinel_manager, pool.service_name
    findings, answering = [], None
    for sentinel in manager.sentinels:
        knows_service, finding = _check_sentinel(sentinel, service)
        findings.append(finding)
        if knows_service and answering is None:
            answering = sentinel
    if answering is None:
        client.ping()  # raises the error of a client whose Sentinels do not answer
        return Servers([Node(client, "master", tag, "master")], findings)
    master = Node(client, "master", tag, _address(answering.sentinel_master(service)))
    nodes, replicas = [master], answering.sentinel_slaves(service)
    if not replicas:
        text = "this master has no replica: there is nothing to fail over to"
        findings.append(Finding("warn", "sentinel", text, master.address))
    for each in sorted(replicas, key=_address):
        if each["is_sdown"] or each["is_disconnected"]:
            text = "the Sentinels cannot reach this replica; if it is gone for good, SENTINEL RESET"
            findings.append(Finding("fail", "sentinel", text, _address(each)))
        else:
            options = manager.connection_kwargs | {"host": each["ip"], "port": int(each["port"])}
            kind = redis.SSLConnection if options.pop("ssl", False) else redis.Connection
            replica = stack.enter_context(_connect(kind, options))
            nodes.append(Node(replica, "replica", tag, _address(each)))
    return Servers(nodes, findings)


def _check_sentinel(sentinel: Any, service: str) -> tuple[bool, Finding]:
    """Return whether a Sentinel knows the service, and what was found."""
    kwargs, facts = sentinel.connection_pool.connection_kwargs, None
    address = f"{kwargs['host']}:{kwargs['port']}"
    try:
        facts = sentinel.sentinel_master(service)
        sentinel.sentinel_ckquorum(service)
    except ResponseError as error:
        return facts is not None, Finding("fail", "sentinel", f"no failover of {service!r}: {error}", address)
    except (RedisError, OSError) as error:
        return False, Finding("warn", "sentinel", f"this Sentinel cannot be reached: {error}", address)
    count = int(facts["num-other-sentinels"]) + 1
    if count < _FEWEST_SENTINELS:
        text = f"{count} of them know each other: with fewer than {_FEWEST_SENTINELS}, the loss of one stops failovers"
        return True, Finding("warn", "sentinel", text, address)
    return True, Finding("ok", "sentinel", f"a quorum of {facts['quorum']} among {count} Sentinels", address)


def _connect(connection_class: Any, options: Mapping[str, Any]) -> redis.Redis:
    """Make a client of one server."""
    return RedisClient.from_pool(redis.ConnectionPool(connection_class=connection_class, **options))


def _address(server: Mapping[str, Any]) -> str:
    host = str(server["ip"])
    return f"[{host}]:{server['port']}" if ":" in host else f"{host}:{server['port']}"
