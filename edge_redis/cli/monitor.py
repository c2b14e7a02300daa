"""edge-redis monitor: watch a namespace's nodes, tell what changes, and hand it on."""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Final

from edge_redis._core import validation
from edge_redis._health.flapping import FlapThresholds
from edge_redis._io.connect import connect
from edge_redis._io.sinks import ExecSink, WebhookSink
from edge_redis._services.blocking.health import HealthMonitor
from edge_redis._services.blocking.health_relay import TransitionRelay
from edge_redis._services.blocking.health_watch import HealthWatch
from edge_redis._site.stop_request import TERMINAL_SIGNALS, StopRequest
from edge_redis.cli import options
from edge_redis.cli.watching import Console, Watching
from edge_redis.errors import InvalidArgumentError
from edge_redis.models import Transition

NODE_VARIABLE: Final = "EDGE_REDIS_NODE"
"""Holds the suspect's id for a command that is to ask it."""
CONFIRM_SECONDS: Final = 5.0

_DESCRIPTION: Final = f"""Watch the nodes of a namespace: one monitor of any number leads, the others stand by.

Every change is a line on standard output: time, node, state, the state before, why. What the monitor says
of itself goes to standard error. --webhook and --command hand changes on, each at least once, by one of the
monitors that name the same; a command gets the change as JSON on its standard input. --confirm asks a silent
node before it is called unhealthy: a command that finds the node's id in {NODE_VARIABLE} and ends with 0
where the node is alive."""


def add_to(commands: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "monitor",
        help="watch nodes, tell what changes, and hand it on",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_server(parser)
    options.add_namespace(parser, default="default", otherwise="default")
    _add_judgement(parser)
    _add_output(parser)
    parser.set_defaults(run=run)


def _add_judgement(parser: argparse.ArgumentParser) -> None:
    def seconds(name: str, default: float | None, text: str) -> None:
        parser.add_argument(name, type=float, metavar="SECONDS", default=default, help=text)

    seconds("--heartbeat-timeout", 60.0, "a node without a heartbeat for so long is unhealthy (default: 60)")
    seconds("--interval", None, "pause between two rounds (default: 5, at most a quarter of the timeout)")
    seconds("--lease", None, "a monitor that dies keeps the lead for so long (default: three intervals)")
    seconds("--retention", None, "nodes without a heartbeat for so long are removed (default: never)")
    seconds("--suspicion", 0.0, "a node is suspected for so long before it is unhealthy (default: 0)")
    parser.add_argument("--confirm", metavar="CMD", help="probes a node before it is unhealthy")
    parser.add_argument("--detector", choices=("timeout", "phi"), default="timeout", help="default: timeout")
    parser.add_argument("--phi-threshold", type=float, metavar="PHI", default=8.0, help="for phi (default: 8)")
    parser.add_argument(
        "--flap-thresholds",
        action="store_true",
        help="flapping by start and stop thresholds, not by three changes in ten checks",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--webhook", action="append", metavar="URL", default=[], help="post each change here as JSON")
    parser.add_argument("--command", action="append", metavar="CMD", default=[], help="run this for each change")
    parser.add_argument(
        "--states", metavar="STATE,STATE", help="what webhooks and commands get, such as unhealthy,recovered"
    )
    parser.add_argument(
        "--since", metavar="POSITION", help="begin with the changes after this one; 0: all that are kept"
    )
    parser.add_argument("--json", action="store_true", help="a JSON object a line")
    parser.add_argument("--duration", type=float, metavar="SECONDS", help="end after so long")


def run(arguments: argparse.Namespace) -> int:
    """Watch until stopped; return 0, or 130 after Ctrl-C."""
    logging.basicConfig(format="%(asctime)s  %(message)s", datefmt="%H:%M:%S", level=logging.WARNING)
    duration = None if arguments.duration is None else validation.positive("duration", arguments.duration)
    with ExitStack() as stack:
        client = connect(arguments.url)
        stack.callback(client.close)
        monitor = stack.enter_context(HealthMonitor(client, arguments.heartbeat_timeout, namespace=arguments.namespace))
        relays = [stack.enter_context(relay) for relay in _relays(client, arguments)]
        watch = stack.enter_context(_watch(client, arguments))
        stop = stack.enter_context(StopRequest(TERMINAL_SIGNALS))
        watching = Watching(monitor, watch, Console(as_json=arguments.json), since=arguments.since)
        for relay in relays:
            relay.start()
        watching.run(stop, duration)
    return 130 if stop.first_signal is signal.SIGINT else 0


def _watch(client: Any, arguments: argparse.Namespace) -> HealthWatch:
    return HealthWatch(
        client,
        arguments.heartbeat_timeout,
        namespace=arguments.namespace,
        interval_seconds=arguments.interval,
        lease_seconds=arguments.lease,
        retention_seconds=arguments.retention,
        detector=arguments.detector,
        phi_threshold=arguments.phi_threshold,
        flap_detector=FlapThresholds() if arguments.flap_thresholds else None,
        suspicion_seconds=arguments.suspicion,
        confirm=None if arguments.confirm is None else _confirm(_words("--confirm", arguments.confirm)),
    )


def _relays(client: Any, arguments: argparse.Namespace) -> Iterator[TransitionRelay]:
    states = None if arguments.states is None else [state.strip() for state in arguments.states.split(",")]
    sinks: list[tuple[str, Callable[[Transition], object]]] = [
        *((url, WebhookSink(url)) for url in arguments.webhook),
        *((line, ExecSink(_words("--command", line))) for line in arguments.command),
    ]
    for target, sink in sinks:
        # Monitors that name the same target share one relay's place, so that each change gets there once.
        name = f"monitor-{hashlib.sha256(target.encode()).hexdigest()[:16]}"
        yield TransitionRelay(client, sink, name=name, namespace=arguments.namespace, states=states)


def _words(option: str, line: str) -> list[str]:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise InvalidArgumentError(f"{option} {line!r}: {error}") from error
    if not words:
        raise InvalidArgumentError(f"{option} must be a command")
    return words


def _confirm(words: list[str]) -> Callable[[str], bool]:
    def confirm(node_id: str) -> bool:
        environment = {**os.environ, NODE_VARIABLE: node_id}
        done = subprocess.run(  # noqa: S603 -- the operator's own command
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            timeout=CONFIRM_SECONDS,
            check=False,
        )
        return done.returncode == 0

    return confirm
