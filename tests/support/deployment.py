"""The files that deploy a site, and the real command line to check their commands with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import yaml

from edge_redis.cli.main import app

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "docs" / "deploy"
OWN_IMAGE: Final = "edge-redis:local"


def read_compose() -> dict[str, Any]:
    """Return docker-compose.yml, its anchors resolved."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return found


def own_services() -> dict[str, dict[str, Any]]:
    """Return the services of docker-compose.yml that run the command edge-redis."""
    return {name: each for name, each in read_compose()["services"].items() if each["image"] == OWN_IMAGE}


def read_kubernetes(kind: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of a kind in the Kubernetes example."""
    text = (DEPLOY / "kubernetes" / "site.yaml").read_text()
    yield from (each for each in yaml.safe_load_all(text) if each["kind"] == kind)


def parse_command(words: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    """Parse a command line of edge-redis as the command does, without running it.

    Raises:
        Exception: a command, option, argument or value that it would refuse, or a variable that it does not read.

    """
    command: Any = import_module("typer.main").get_command(app)
    known = {"EDGE_REDIS_CONFIG", "EDGE_REDIS_PASSWORD", "EDGE_REDIS_CLOUD_PASSWORD", "EDGE_REDIS_ROLE"}
    context, rest = None, [str(word) for word in words]
    name = "edge-redis"
    while hasattr(command, "commands"):
        context = command.make_context(name, rest, parent=context)
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
    command.make_context(name, rest, parent=context)
    known |= {parameter.envvar for parameter in command.params if parameter.envvar}
    unknown = {each for each in environment or {} if each.startswith("EDGE_REDIS_")} - known
    assert not unknown, f"{name} does not read {unknown}"
