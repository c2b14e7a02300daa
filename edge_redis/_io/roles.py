"""The roles of a site's processes: as ACL users, with the keys and commands that each needs, and no others."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from edge_redis._core import validation
from edge_redis._core.keys import PREFIX, KeySpace, check_namespace
from edge_redis._core.script_commands import find_package_commands, is_read
from edge_redis._io.replica_views import PLAIN_WRITES

Side: TypeAlias = Literal["edge", "cloud"]
"""The server that a user is for."""

_PACKAGES: Final = {
    "cache": "edge_redis._cache",
    "health": "edge_redis._health",
    "metrics": "edge_redis._metrics",
    "sync": "edge_redis._sync",
    "cloud": "edge_redis._sync",
}
"""The package of each component whose scripts run on its keys."""

COMPONENTS: Final = ("cache", "health", "metrics", "sync", "cloud", "site")

# fmt: off
_READS: Final = frozenset(
    {
        "GET", "HGET", "HLEN", "HMGET", "HSCAN", "HSTRLEN", "MGET", "PTTL", "SMEMBERS", "STRLEN", "TIME", "XLEN",
        "XRANGE", "XREVRANGE", "ZCARD", "ZMSCORE", "ZRANGE", "ZRANGEBYSCORE", "ZSCAN", "ZSCORE",
    }
)
_CONSUMER_COMMANDS: Final = (
    "EXISTS", "GET", "HGET", "HSET", "MGET", "PEXPIRE", "TIME", "XACK", "XAUTOCLAIM", "XGROUP CREATE",
    "XGROUP DELCONSUMER", "XINFO CONSUMERS", "XINFO GROUPS", "XLEN", "XPENDING", "XRANGE", "XREADGROUP",
)
# fmt: on
"""Commands that components send besides their scripts, and those of a consumer of accepted changes."""
_CONNECTION: Final = ("+@connection", "-@dangerous", "+cluster|info", "+cluster|nodes", "+cluster|slots")
"""The second takes back what acts on other users' connections, such as CLIENT KILL. By the last three a client of a
cluster finds the nodes, and doctor those that have failed.
"""
_SCRIPTS: Final = ("+eval", "+evalsha")
_UNSAFE_NAME: Final = re.compile(r"\s")
_GLOB: Final = re.compile(r"([*?\[\]\\])")


_CHANNEL_COMMANDS: Final = ("+subscribe", "+psubscribe", "+unsubscribe", "+punsubscribe", "+publish")
_HINT_COMMANDS: Final = ("+subscribe", "+publish")


@dataclass(frozen=True, slots=True)
class Role:
    """A kind of process, and the components whose keys it writes and reads.

    Reading metrics compacts what was recorded since, which writes: so whatever reads metrics may write them.
    """

    name: str
    text: str
    writes: tuple[str, ...]
    reads: tuple[str, ...] = ()
    sides: tuple[Side, ...] = ("edge",)
    more: tuple[str, ...] = ()
    """Further commands."""
    has_channels: bool = False
    """Whether it publishes writes of every component, and subscribes to those of others for a near cache."""
    hints: tuple[str, ...] = ()
    """The components whose hints of changes it publishes and subscribes to."""
    drops_namespaces: bool = False
    only_keys: str = ""
    """What the names of the keys that it uses begin with, among those of its components; "" for all."""
    only_commands: tuple[str, ...] = ()
    """The commands that it runs on them, in place of those of the components."""

    def commands(self, component: str) -> tuple[str, ...]:
        """Return the commands that this role runs on the keys of a component."""
        if self.only_commands:
            return self.only_commands
        package = _PACKAGES.get(component)
        scripts = () if package is None else find_package_commands(package) + find_package_commands("edge_redis._core")
        found = {*_READS, *PLAIN_WRITES, *scripts} - {"PUBLISH"}
        if component not in self.writes:
            found = {each for each in found if is_read(each) or each in _READS}
        return tuple(sorted(found))

    def rules(self, namespace: str) -> list[str]:
        """Return the rules of ACL SETUSER that give these rights, after ``reset``.

        A role that writes some components and reads others has a selector for each of the two: a server takes every
        script for a command that may write its keys, so that no key pattern for reading alone would do.

        Raises:
            InvalidKeyError, InvalidTypeError: not a namespace, or one that no rule can name.

        """
        name = _escape(namespace)
        rules = ["resetchannels", *_CONNECTION]
        if self.has_channels:
            rules += [f"&{PREFIX}:{{{name}:*", "&__redis__:invalidate", *_CHANNEL_COMMANDS]
        if self.hints:
            rules += [*(f"&{PREFIX}:{{{name}:{component}[0-9]*" for component in self.hints), *_HINT_COMMANDS]
        rules += sorted(map(_permit, self.more))
        if not self.reads:
            return rules + self._rights(name, self.writes)
        selector = " ".join(self._rights(name, self.writes))
        return [*rules, *self._rights(name, self.reads), f"({selector})"]

    def _rights(self, namespace: str, components: Sequence[str]) -> list[str]:
        keys = [f"~{PREFIX}:{{{namespace}:{component}[0-9]*" for component in components]
        if self.drops_namespaces:
            keys = [f"~{PREFIX}:{{{namespace}:*"]
        if self.only_keys:
            keys = [f"~{PREFIX}:{{{namespace}:{component}[0-9]}}{self.only_keys}*" for component in components]
        commands = {each for component in components for each in self.commands(component)}
        return [*keys, *_SCRIPTS, *sorted(map(_permit, commands))]

    def tag(self, namespace: str) -> str:
        """Return what keys that this role may write begin with: a hash tag, and perhaps the beginning of a name."""
        return KeySpace(namespace, self.writes[0]).tag + self.only_keys


ROLES: Final = (
    Role(
        "edge",
        "a process that uses the services",
        ("cache", "health", "metrics", "sync"),
        more=("LASTSAVE",),
        has_channels=True,
    ),
    Role("worker", "edge-redis worker, at the edge's server", ("sync",), more=("LASTSAVE",), hints=("sync",)),
    Role(
        "cloud-worker",
        "edge-redis worker, at the cloud's server",
        ("cloud",),
        sides=("cloud",),
        more=("LASTSAVE",),
        hints=("cloud",),
    ),
    Role(
        "consumer",
        "a program that reads the cloud's accepted changes",
        ("cloud",),
        sides=("cloud",),
        only_keys=":accepted",
        only_commands=_CONSUMER_COMMANDS,
    ),
    Role("monitor", "edge-redis monitor", ("health",)),
    Role(
        "dashboard",
        "edge-redis dashboard and top, without operators",
        ("metrics",),
        reads=("cache", "health", "sync", "cloud", "site"),
        sides=("edge", "cloud"),
    ),
    Role("exporter", "edge-redis metrics serve", ("metrics",), reads=("cache", "health", "sync")),
    Role(
        "operator",
        "a person at the command line, or a dashboard with operators",
        COMPONENTS,
        sides=("edge", "cloud"),
        more=("LASTSAVE", "SCAN", "CONFIG GET", "DUMP", "RESTORE"),
        has_channels=True,
        drops_namespaces=True,
    ),
)

PROBE: Final = "probe"
"""The user of health checks, who may ask for PONG and nothing else, by any password."""


def find_role(name: str) -> Role:
    """Return the role of this name.

    Raises:
        InvalidArgumentError: there is none.

    """
    for role in ROLES:
        if role.name == name:
            return role
    raise validation.value_error("role", name, f"must be one of {', '.join(role.name for role in ROLES)}")


def acl_lines(namespace: str, sides: Collection[Side], passwords: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines of an ACL file: the roles of a server, a user for health checks, and the default user, off.

    Args:
        namespace: the one namespace that the users may touch.
        sides: what the server is: the edge's, the cloud's, or both.
        passwords: SHA-256 of the passwords in hexadecimal, by roles; a role without one is off.

    """
    yield "user default off resetpass resetkeys resetchannels -@all"
    yield f"user {PROBE} on nopass resetkeys resetchannels -@all +ping"
    for role in ROLES:
        if not set(sides).isdisjoint(role.sides):
            digest = passwords.get(role.name)
            state = "off resetpass" if digest is None else f"on resetpass #{digest}"
            yield f"user {role.name} {state} resetkeys -@all {' '.join(role.rules(namespace))}"


def _escape(namespace: str) -> str:
    name = check_namespace(namespace)
    if _UNSAFE_NAME.search(name):
        raise validation.key_error("namespace", name, "cannot be in an ACL rule: it has white space")
    return _GLOB.sub(r"\\\1", name)


def _permit(command: str) -> str:
    return "+" + command.lower().replace(" ", "|")
