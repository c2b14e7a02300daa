"""edge-redis monitor: watch a namespace's nodes, print their transitions, and pass them on."""

from __future__ import annotations

import hashlib
import logging
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_redis.cli import exit_codes, options
from edge_redis.cli.connection import load_settings, open_client
from edge_redis.cli.probing import NODE_VARIABLE, ProbeOptions, make_confirm, split_words
from edge_redis.settings._sources import VARIABLES


class Detector(StrEnum):
    """How missing heartbeats are judged."""

    TIMEOUT = "timeout"
    PHI = "phi"


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("monitor")(monitor)


def _seconds(option: str, text: str) -> Any:
    return typer.Option(option, metavar="SECONDS", help=text, show_default=False)


def monitor(
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    heartbeat_timeout: options.HeartbeatTimeout = 60.0,
    interval: Annotated[
        float | None, _seconds("--interval", "Pause between two rounds. Default: 5, or a quarter of the timeout.")
    ] = None,
    lease: Annotated[
        float | None,
        _seconds("--lease", "Time after which another monitor replaces one that died. Default: three intervals."),
    ] = None,
    retention: Annotated[
        float | None, _seconds("--retention", "Remove nodes whose last heartbeat is older than this. Default: never.")
    ] = None,
    suspicion: Annotated[
        float, _seconds("--suspicion", "Time for which a node is suspected before it counts as unhealthy. Default: 0.")
    ] = 0.0,
    confirm: Annotated[
        str | None,
        typer.Option(metavar="CMD", help=f"Probes a suspected node, whose id is in {NODE_VARIABLE}; 0 means alive."),
    ] = None,
    probe: Annotated[
        str | None,
        typer.Option(
            metavar="TARGET",
            help="Probes a suspected node: tcp://HOST:PORT, tls://HOST:PORT, http://HOST/PATH or https://HOST/PATH. "
            "{node_id} in the host or path stands for its id, {address} as the host for an address in its metadata.",
        ),
    ] = None,
    probe_network: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CIDR", help="Network that probes may connect to. Default: private ones.", show_default=False
        ),
    ] = None,
    probe_metadata: Annotated[
        str | None, typer.Option(metavar="KEY", help="Key of a node's metadata that holds its {address}.")
    ] = None,
    probe_ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Authorities that tls:// and https:// trust. Default: the system's."),
    ] = None,
    probe_days: Annotated[
        float | None, typer.Option(metavar="DAYS", help="For tls://: days that a certificate must still be valid.")
    ] = None,
    detector: Annotated[Detector, typer.Option(help="How missing heartbeats are judged.")] = Detector.TIMEOUT,
    phi_threshold: Annotated[float, typer.Option(metavar="PHI", help="For --detector phi.")] = 8.0,
    flap_thresholds: Annotated[
        bool, typer.Option("--flap-thresholds", help="Flapping by start and stop thresholds.")
    ] = False,
    webhook: Annotated[list[str] | None, typer.Option(metavar="URL", help="Post each transition here as JSON.")] = None,
    command: Annotated[
        list[str] | None, typer.Option(metavar="CMD", help="Run this for each transition, JSON on standard input.")
    ] = None,
    notify: Annotated[
        list[str] | None,
        typer.Option(
            envvar=VARIABLES["notify"],
            metavar="URL",
            help="Send each transition as a message to this address of Apprise (mail, Slack, PagerDuty and others).",
            show_default=False,
        ),
    ] = None,
    notify_routes: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Routes of messages: addresses, nodes, templates, escalation, repeats."),
    ] = None,
    states: Annotated[
        str | None, typer.Option(metavar="STATE,STATE", help="Pass on only these, such as unhealthy,recovered.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="POSITION", help="Begin after this transition; 0: with all that are kept.")
    ] = None,
    duration: Annotated[float | None, _seconds("--duration", "End after this time.")] = None,
    as_json: options.Json = False,
) -> int:
    """Watch the nodes of a namespace: one monitor of any number leads, the others stand by and take over.

    Every transition is a line on standard output, with --json an object; messages about the monitor itself go to
    standard error. --webhook, --command and --notify pass transitions on, each at least once, by one of the monitors
    that name the same target. Ends with 0 after SIGTERM or --duration, with 130 after Ctrl-C.
    """
    logging.basicConfig(format="%(asctime)s  %(message)s", datefmt="%H:%M:%S", level=logging.WARNING)
    from edge_redis import HealthMonitor, HealthWatch
    from edge_redis._core import validation
    from edge_redis._site.stop_request import TERMINAL_SIGNALS, StopRequest
    from edge_redis.cli.monitor_loop import MonitorLoop
    from edge_redis.cli.notifying import Notifier, list_routes

    until = None if duration is None else validation.check_positive("duration", duration)
    with ExitStack() as stack:
        client = stack.enter_context(open_client(load_settings(url, password_file, namespace)))
        health = stack.enter_context(HealthMonitor(client, heartbeat_timeout, namespace=namespace))
        notifier = Notifier(client, health, list_routes(notify or (), notify_routes, states))
        targets = _sinks(webhook or (), command or ())
        relays = [stack.enter_context(each) for each in _relays(client, namespace, targets, states)]
        relays += [stack.enter_context(each) for each in notifier.relays()]
        watch = stack.enter_context(
            HealthWatch(
                client,
                heartbeat_timeout,
                namespace=namespace,
                interval_seconds=interval,
                lease_seconds=lease,
                retention_seconds=retention,
                detector=detector.value,
                phi_threshold=phi_threshold,
                flap_detector=_flap_thresholds() if flap_thresholds else None,
                suspicion_seconds=suspicion,
                confirm=make_confirm(
                    ProbeOptions(confirm, probe, probe_network or (), probe_metadata, probe_ca, probe_days), health
                ),
            )
        )
        stop = stack.enter_context(StopRequest(TERMINAL_SIGNALS))
        loop = MonitorLoop(health, watch, notifier.reminders(), as_json=as_json, since=since, client=client)
        for relay in relays:
            relay.start()
        loop.run(stop, until)
    return exit_codes.INTERRUPTED if stop.first_signal is signal.SIGINT else exit_codes.OK


def _flap_thresholds() -> Any:
    from edge_redis import FlapThresholds

    return FlapThresholds()


def _sinks(webhooks: Sequence[str], commands: Sequence[str]) -> list[tuple[str, Any]]:
    from edge_redis import ExecSink, WebhookSink

    return [
        *((url, WebhookSink(url)) for url in webhooks),
        *((line, ExecSink(split_words("--command", line))) for line in commands),
    ]


def _relays(client: Any, namespace: str, targets: Sequence[tuple[str, Any]], states: str | None) -> Iterator[Any]:
    from edge_redis import TransitionRelay

    chosen = None if states is None else [state.strip() for state in states.split(",")]
    for target, sink in targets:
        # Monitors that name the same target share one relay's name, so that each transition is passed on once.
        name = f"monitor-{hashlib.sha256(target.encode()).hexdigest()[:16]}"
        yield TransitionRelay(client, sink, name=name, namespace=namespace, states=chosen)
