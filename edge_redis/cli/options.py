"""Options that several commands have: one name, one meaning, one environment variable."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_redis.settings._sources import VARIABLES

Url = Annotated[
    str | None,
    typer.Option(
        envvar=VARIABLES["url"],
        help="Server, such as redis://host:6379/0, rediss://, unix://, redis+cluster:// or redis+sentinel://. "
        "Default: redis://localhost:6379/0.",
        show_default=False,
    ),
]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        envvar=VARIABLES["password_file"],
        metavar="FILE",
        help="File that holds the server's password; EDGE_REDIS_PASSWORD holds the password itself.",
    ),
]
Namespace = Annotated[str, typer.Option(envvar=VARIABLES["namespace"], metavar="NS", help="Namespace of the site.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
HeartbeatTimeout = Annotated[
    float,
    typer.Option(
        envvar=VARIABLES["heartbeat_timeout"],
        metavar="SECONDS",
        help="A node is unhealthy when its last heartbeat is older, unless it has a timeout of its own.",
    ),
]
CloudUrl = Annotated[
    str | None,
    typer.Option(
        envvar=VARIABLES["cloud_url"],
        metavar="URL",
        help="Cloud: a Redis server or an SQL database (postgresql+psycopg://, sqlite:///). Default: the edge's.",
        show_default=False,
    ),
]
CloudPasswordFile = Annotated[
    Path | None,
    typer.Option(
        envvar=VARIABLES["cloud_password_file"],
        metavar="FILE",
        help="File that holds the password of the cloud's Redis; EDGE_REDIS_CLOUD_PASSWORD holds the password itself.",
    ),
]
CloudSql = Annotated[
    str | None,
    typer.Option(
        envvar=VARIABLES["cloud_sql"],
        metavar="URL",
        help="Cloud: an SQL database, in place of --cloud-url.",
        show_default=False,
    ),
]
KeysFile = Annotated[
    Path | None,
    typer.Option(
        envvar=VARIABLES["keys_file"],
        metavar="FILE",
        help='TOML file of signing keys, a line for each origin: till-1 = "key". Only signed changes are accepted.',
    ),
]
Limit = Annotated[int, typer.Option(metavar="N", min=1, help="Entries at most.")]
Repeat = Annotated[
    float | None,
    typer.Option("--watch", metavar="SECONDS", min=0.1, help="Repeat at this interval, until Ctrl-C."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
