"""Renders views to frames, and pages around them."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final
from urllib.parse import urlencode

import jinja2
from markupsafe import Markup, escape

from edge_redis._site.units import format_bytes
from edge_redis.dashboard import _text as text
from edge_redis.dashboard._charts import state_class
from edge_redis.dashboard._fragments import Fragment, fill_ages
from edge_redis.dashboard._hub import Frame, new_number
from edge_redis.dashboard._query import Query
from edge_redis.dashboard._sites import Site
from edge_redis.dashboard._views import VIEWS
from edge_redis.errors import EdgeRedisError

_log: Final = logging.getLogger("edge_redis")
_PACKAGE: Final = "edge_redis.dashboard"
STATIC: Final[Mapping[str, str]] = {
    "page.css": "text/css",
    "page.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
"""The files under static/, and their types."""
GROUPS: Final = tuple((name, view) for name, view in VIEWS.items() if view.group == name)
"""The entries of the navigation."""


def read_static(name: str) -> bytes:
    """Return a file under static/."""
    return resources.files(_PACKAGE).joinpath("static", name).read_bytes()


@dataclass(frozen=True, slots=True)
class ViewKey:
    """All that a view's frames depend on. Visitors with the same key share them."""

    slug: str
    name: str
    query: Query
    may_act: bool
    base: str


class Renderer:
    """Renders the templates.

    Args:
        sites: by their names in URLs.
        clock: the Unix time in seconds.

    """

    def __init__(self, sites: Mapping[str, Site], clock: Callable[[], float] = time.time) -> None:
        self._sites = sites
        self._clock = clock
        self._versions = {name: hashlib.blake2s(read_static(name), digest_size=6).hexdigest() for name in STATIC}
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader(_PACKAGE),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(
            counted=text.counted,
            duration=text.duration,
            epoch_ms=text.epoch_ms,
            infinity=float("inf"),
            moment=text.moment,
            ms=text.milliseconds,
            number=text.number,
            percent=text.percent,
            row_id=text.row_id,
            shown=text.shown,
            size=format_bytes,
            state_class=state_class,
        )
        # Ids become parts of URLs: this one quotes "/", as the filter of the same name does not.
        self._environment.filters["urlencode"] = urlencode
        # Blocks are rendered one by one, without the imports of their template.
        self._environment.globals["m"] = self._environment.get_template("macros.html").module

    @property
    def now_ms(self) -> float:
        """The Unix time in milliseconds."""
        return self._clock() * 1000

    async def render(self, key: Hashable, before: Frame | None) -> Frame:
        """Render the live fragments of a view.

        Where the server cannot be reached, the frame says so, above the fragments of the frame before.
        """
        assert isinstance(key, ViewKey)
        site, view = self._sites[key.slug], VIEWS[key.name]
        try:
            context = await view.read(site.reader, key.query)
        except EdgeRedisError as error:
            _log.warning("the page of %r cannot be read: %s", site.title, error)
            status = Fragment("f-status", f"cannot be read: {escape(str(error))}")
            kept = before.fragments if before else ()
            return Frame(new_number(), (status, *(each for each in kept if each.id != "f-status")), is_broken=True)
        if context is None:
            return Frame(new_number(), (Fragment("f-status", "not there (any more)"),), is_found=False)
        template = self._environment.get_template(f"{key.name}.html")
        values = {"base": key.base, "site": site, "query": key.query, "may_act": key.may_act, **context}
        made = template.new_context(values)
        fragments = [Fragment(f"f-{name}", "".join(template.blocks[name](made))) for name in view.blocks]
        return Frame(new_number(), (Fragment("f-status", "live"), *fragments))

    def page(self, template: str, **values: Any) -> str:
        """Render a whole page."""
        base = values["base"]
        common = {
            "groups": GROUPS,
            "group": "",
            "live": "",
            "notice": "",
            "now_ms": round(self.now_ms),
            "site": None,
            "sites": list(self._sites.values()),
            "static": lambda name: f"{base}/static/{name}?{self._versions[name]}",
        }
        return self._environment.get_template(template).render(**{**common, **values})

    def view_page(self, key: ViewKey, frame: Frame, **values: Any) -> str:
        """Render the page of a view around its fragments."""
        view = VIEWS[key.name]
        site = self._sites[key.slug]
        shown_name = key.query.get(view.parameter) if view.parameter else ""
        if key.name == "conflict":
            shown_name = f"of {key.query.get('name')}"
        heading = f"{view.title} {shown_name}".strip() if shown_name else view.title
        template = self._environment.get_template(f"{key.name}.html")
        controls = Markup()
        if "controls" in template.blocks and frame.is_found:
            made = template.new_context({"site": site, "query": key.query, **values})
            controls = Markup("".join(template.blocks["controls"](made)))  # noqa: S704 -- rendered with autoescape
        html = self.page(
            "view.html",
            title=heading,
            heading=view.title if key.name == "letter" else heading,
            site=site,
            group=view.group,
            fragments=frame.fragments,
            controls=controls,
            live=f"{key.base}/live/{key.slug}/{key.name}{key.query.url(after=frame.number)}",
            **values,
        )
        return fill_ages(html, self.now_ms)
