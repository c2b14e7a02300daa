"""How edge-redis monitor probes a suspected node: by a command of the operator, or over the network."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edge_redis.errors import InvalidArgumentError

if TYPE_CHECKING:
    import ssl

    from edge_redis import HealthMonitor

NODE_VARIABLE: Final = "EDGE_REDIS_NODE"
"""Holds the node's id for the command of --confirm."""
CONFIRM_SECONDS: Final = 5.0


class ProbeOptions(NamedTuple):
    """The options of the command line that say how a node is probed."""

    confirm: str | None = None
    probe: str | None = None
    networks: Sequence[str] = ()
    metadata: str | None = None
    authority: Path | None = None
    days: float | None = None


def make_confirm(options: ProbeOptions, health: HealthMonitor) -> Callable[[str], object] | None:
    """Return the function that probes a node; None where no option asks for one.

    Raises:
        InvalidArgumentError: the options contradict each other, or a value cannot be used.

    """
    if options.probe is None:
        if options[2:] != ProbeOptions()[2:]:
            raise InvalidArgumentError("the options --probe-... need --probe")
        return None if options.confirm is None else make_command_probe(split_words("--confirm", options.confirm))
    if options.confirm is not None:
        raise InvalidArgumentError("--probe and --confirm exclude each other")
    try:
        return _make_network_probe(options.probe, options, health)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"--probe: {error}") from error


def _make_network_probe(target: str, options: ProbeOptions, health: HealthMonitor) -> Callable[[str], bool]:
    from edge_redis.probes import HttpProbe, MetadataAddress, TcpProbe, TlsProbe

    scheme = target.partition("://")[0]
    kinds: dict[str, type[Any]] = {"tcp": TcpProbe, "tls": TlsProbe, "http": HttpProbe, "https": HttpProbe}
    if "://" not in target or scheme not in kinds:
        raise InvalidArgumentError("the target must begin with tcp://, tls://, http:// or https://")
    _check_address(target, options)
    settings: dict[str, Any] = {"networks": options.networks or None}
    if options.metadata is not None:
        settings["address_of"] = MetadataAddress(health, options.metadata)
    if options.authority is not None:
        _require("--probe-ca", scheme, "https", "tls")
        settings["context"] = _trust(options.authority)
    if options.days is not None:
        _require("--probe-days", scheme, "tls")
        settings["min_days"] = options.days
    probe: Callable[[str], bool] = kinds[scheme](target, **settings)
    return probe


def _check_address(target: str, options: ProbeOptions) -> None:
    """Say in terms of the command line what a target with {address} needs."""
    if ("{address}" in target) != (options.metadata is not None):
        raise InvalidArgumentError("a target with {address} needs --probe-metadata, and no other target takes it")
    if options.metadata is not None and not options.networks:
        raise InvalidArgumentError("a target with {address} needs --probe-network: name the networks of your nodes")


def _require(option: str, scheme: str, *allowed: str) -> None:
    if scheme not in allowed:
        raise InvalidArgumentError(f"{option} is for {' and '.join(f'{each}://' for each in allowed)}")


def _trust(path: Path) -> ssl.SSLContext:
    import ssl  # loads OpenSSL, which most commands do not need

    try:
        return ssl.create_default_context(cafile=str(path))
    except (OSError, ssl.SSLError) as error:
        raise InvalidArgumentError(f"the certificates of --probe-ca cannot be read: {error}") from error


def split_words(option: str, line: str) -> list[str]:
    """Return the words of a command line.

    Raises:
        InvalidArgumentError: it has none, or a quote is not closed.

    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise InvalidArgumentError(f"{option} {line!r}: {error}") from error
    if not words:
        raise InvalidArgumentError(f"{option} must be a command")
    return words


def make_command_probe(words: list[str]) -> Callable[[str], bool]:
    """Return a function that runs a command with a node's id in its environment, and says whether it ended with 0."""

    def probe(node_id: str) -> bool:
        done = subprocess.run(  # noqa: S603 -- the operator's own command
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, NODE_VARIABLE: node_id},
            timeout=CONFIRM_SECONDS,
            check=False,
        )
        return done.returncode == 0

    return probe
