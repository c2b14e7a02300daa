"""The sites that a dashboard shows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from edge_redis._core import validation
from edge_redis._io.clients import AsyncClient
from edge_redis._services.aio.bundle import EdgeRedis
from edge_redis._site.reader import SiteReader
from edge_redis._sync.cloud_store import AsyncCloudStore, CloudStore
from edge_redis.errors import InvalidArgumentError

Cloud: TypeAlias = AsyncCloudStore | CloudStore | AsyncClient


@dataclass(frozen=True, slots=True)
class Site:
    """A site: its title, its name in URLs, and the reader of its state."""

    title: str
    slug: str
    reader: SiteReader


def make_sites(sites: EdgeRedis | Mapping[str, EdgeRedis], clouds: Mapping[str, Cloud] | None) -> dict[str, Site]:
    """Return the sites by their names in URLs.

    Raises:
        InvalidArgumentError: there is none, or a cloud is of an unknown site.

    """
    named = {sites.namespace: sites} if isinstance(sites, EdgeRedis) else dict(sites)
    if not named:
        raise InvalidArgumentError("give at least one site")
    for title, edge in named.items():
        validation.check_instance(f"site {title!r}", edge, EdgeRedis)
    for title in clouds or {}:
        if title not in named:
            raise InvalidArgumentError(f"clouds: there is no site {title!r}")
    found: dict[str, Site] = {}
    for title, edge in named.items():
        slug = base = re.sub(r"[^\w.-]+", "-", title, flags=re.ASCII).strip(".-") or "site"
        number = 1
        while slug in found:
            number += 1
            slug = f"{base}-{number}"
        found[slug] = Site(title, slug, SiteReader(edge, (clouds or {}).get(title)))
    return found
