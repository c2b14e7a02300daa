"""edge-redis worker: carry a site's changes to the cloud, and the cloud's back."""

from __future__ import annotations

import logging
from typing import Annotated, Any, Final

import typer

from edge_redis.cli import exit_codes, options
from edge_redis.cli.connection import load_settings, open_client, open_cloud

_LONGEST_PAUSE_SECONDS: Final = 5.0
_FIRST_PAUSE_SECONDS: Final = 0.1


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("worker")(worker)


def worker(
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    cloud_url: options.CloudUrl = None,
    cloud_sql: options.CloudSql = None,
    cloud_password_file: options.CloudPasswordFile = None,
    namespace: options.Namespace = "default",
    keys_file: options.KeysFile = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Consumer name; one that restarts under its name continues its work."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, metavar="N", help="Changes taken at once from a scope.")] = 100,
    idle: Annotated[float, typer.Option(min=0.01, metavar="SECONDS", help="Pause when there is nothing to do.")] = 0.2,
    once: Annotated[bool, typer.Option("--once", help="Carry what is pending and end.")] = False,
) -> int:
    """Carry changes between edge and cloud until SIGTERM or Ctrl-C. Any number of workers share the load.

    While a server cannot be reached, or refuses after a round that succeeded, the worker waits. Ends with 0 after
    SIGTERM; the round under way is finished.
    """
    logging.basicConfig(format="%(asctime)s  %(message)s", level=logging.INFO)
    from edge_redis import CloudWorker
    from edge_redis._site.stop_request import TERMINAL_SIGNALS, StopRequest
    from edge_redis.cli.keys_file import read_keys

    keys = read_keys(keys_file)
    server = load_settings(url, password_file, namespace)
    with (
        open_client(server) as edge,
        open_cloud(server, cloud_url, cloud_sql, cloud_password_file) as cloud,
        CloudWorker(edge, cloud, namespace=namespace, consumer=name, batch_size=batch_size, keys=keys) as made,
        StopRequest(TERMINAL_SIGNALS) as stop,
    ):
        made.status()  # fails here when the edge is unreachable or refuses
        logging.getLogger("edge_redis").info("worker started, namespace %s", namespace)
        _run(made, stop, idle, once=once)
    return exit_codes.OK


def _run(worker: Any, stop: Any, idle: float, *, once: bool) -> None:
    from edge_redis.cli.failures import describe
    from edge_redis.errors import EdgeRedisError, StoreUnavailableError

    log = logging.getLogger("edge_redis")
    pause, has_worked, failed = _FIRST_PAUSE_SECONDS, False, False
    while stop.wait(0.0):
        try:
            handled = worker.run_once()
        except EdgeRedisError as error:
            # A refusal of the first round is most likely a mistake in the command line, a later one an outage.
            if once or not (has_worked or isinstance(error, StoreUnavailableError)):
                raise
            log.warning("will try again in %.1f s: %s", pause, describe(error))
            failed = True
            stop.wait(pause)
            pause = min(_LONGEST_PAUSE_SECONDS, pause * 2)
            continue
        if failed:
            log.info("working again")
        pause, has_worked, failed = _FIRST_PAUSE_SECONDS, True, False
        if not handled:
            if once:
                return
            stop.wait(idle)
