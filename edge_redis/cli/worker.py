"""edge-redis worker: carry a site's changes to the cloud, and the cloud's back."""

from __future__ import annotations

import logging
import random
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from edge_redis.cli import exit_codes, options
from edge_redis.cli.connection import allow_partial_outage, load_settings, open_client, open_cloud
from edge_redis.settings._sources import VARIABLES

if TYPE_CHECKING:
    from edge_redis import WorkerOptions

_LONGEST_PAUSE_SECONDS: Final = 30.0
_FIRST_PAUSE_SECONDS: Final = 0.2
_LONG_SECONDS: Final = 3600.0


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("worker")(worker)


def worker(
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    cloud_url: options.CloudUrl = None,
    cloud_sql: options.CloudSql = None,
    cloud_password_file: options.CloudPasswordFile = None,
    namespace: Annotated[
        list[str] | None,
        typer.Option(
            "--namespace",
            envvar=VARIABLES["namespace"],
            metavar="NS",
            help="Namespace of the site; repeatable. By default 'default'.",
        ),
    ] = None,
    keys_file: options.KeysFile = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Consumer name; one that restarts under its name continues its work."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, metavar="N", help="Changes taken at once from a scope.")] = 100,
    poll_interval: Annotated[
        float,
        typer.Option(
            min=0.01, metavar="SECONDS", help="Pause between reads of a cloud that reports no changes, such as SQL."
        ),
    ] = 0.5,
    max_bytes_per_second: Annotated[
        float | None,
        typer.Option(
            "--max-bytes-per-second",
            min=1,
            metavar="N",
            help="Send and receive no more than that over the cloud's link.",
        ),
    ] = None,
    push: Annotated[
        list[str] | None,
        typer.Option(
            "--push", metavar="PATTERN", help="Push scopes that match, such as 'store-1/*'; repeatable. By default all."
        ),
    ] = None,
    pull: Annotated[
        list[str] | None,
        typer.Option(
            "--pull",
            metavar="PATTERN",
            help="Pull scopes that match, besides those of --push; repeatable. By default all.",
        ),
    ] = None,
    urgent: Annotated[
        list[str] | None,
        typer.Option("--urgent", metavar="PATTERN", help="Carry scopes that match before all others; repeatable."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Carry what is pending and end.")] = False,
    new_cloud: Annotated[
        bool,
        typer.Option("--new-cloud", help="With --once: carry to another cloud than before, or to an empty one."),
    ] = False,
) -> int:
    """Carry changes between edge and cloud until SIGTERM or Ctrl-C. Any number of workers share the load.

    While a server cannot be reached, or refuses after a round that succeeded, the worker waits. Of a cluster it carries
    the scopes whose masters answer. Ends with 0 after SIGTERM; the round under way is finished.
    """
    logging.basicConfig(format="%(asctime)s  %(message)s", level=logging.INFO)
    from edge_redis import CloudWorker, NamespaceWorkers, RedisCloudStore
    from edge_redis._site.stop_request import TERMINAL_SIGNALS, StopRequest
    from edge_redis.cli.keys_file import read_keys

    arguments: WorkerOptions = {
        "consumer": name,
        "batch_size": batch_size,
        "keys": read_keys(keys_file),
        "push": push or ("*",),
        "pull": pull or ("*",),
        "urgent": urgent or (),
        "poll_interval_seconds": poll_interval,
        "max_bytes_per_second": max_bytes_per_second,
        "may_change_cloud": new_cloud or not once,
    }
    names = [*dict.fromkeys(namespace or ["default"])]
    with ExitStack() as opened:
        servers = {each: load_settings(url, password_file, each) for each in names}
        edge = opened.enter_context(open_client(servers[names[0]]))
        first = opened.enter_context(open_cloud(servers[names[0]], cloud_url, cloud_sql, cloud_password_file))
        made: CloudWorker | NamespaceWorkers
        if len(names) == 1:
            made = CloudWorker(edge, first, namespace=names[0], **arguments)
        elif isinstance(first, RedisCloudStore):
            made = NamespaceWorkers(edge, first.client, names, **arguments)
        else:
            stores = {
                each: opened.enter_context(open_cloud(servers[each], cloud_url, cloud_sql, cloud_password_file))
                for each in names[1:]
            }
            made = NamespaceWorkers(edge, {names[0]: first, **stores}, names, **arguments)
        opened.enter_context(made)
        stop = opened.enter_context(StopRequest(TERMINAL_SIGNALS))
        log = logging.getLogger("edge_redis")
        with nullcontext() if once else allow_partial_outage(edge, log.warning):
            made.status()  # fails here when the edge is unreachable or refuses
        log.info("worker started, namespace %s", ", ".join(names))
        _run(made, stop, once=once)
    return exit_codes.OK


def _run(worker: Any, stop: Any, *, once: bool) -> None:
    if _carry_first(worker, stop, once=once):
        worker.start()
        while stop.wait(_LONG_SECONDS):
            pass


def _carry_first(worker: Any, stop: Any, *, once: bool) -> bool:
    """Carry what is pending, with a first round; return whether to go on after it."""
    from edge_redis.cli.failures import describe
    from edge_redis.errors import StoreUnavailableError

    log, failed = logging.getLogger("edge_redis"), False
    pause = _FIRST_PAUSE_SECONDS
    while stop.wait(0.0):
        try:
            handled = worker.run_once()
        except StoreUnavailableError as error:  # any other refusal is most likely a mistake in the command line
            if once:
                raise
            log.warning("will go on trying: %s", describe(error))
            failed = True
            stop.wait(random.uniform(0.0, pause))  # noqa: S311 -- edges that wait for one cloud come back apart
            pause = min(_LONGEST_PAUSE_SECONDS, pause * 2)
            continue
        if failed:
            log.warning("the store answers again")
            failed = False
        if not (once and handled):
            return not once
    return False
