"""The operator's page: an ASGI application that shows sites in a browser.

    from edge_redis.aio import EdgeRedis
    from edge_redis.dashboard import dashboard

    app = dashboard({"shop": EdgeRedis.from_url("redis://store:6379/0", namespace="shop")})

Run it with an ASGI server, or mount it in an application of your own. ``edge-redis dashboard`` runs it
with uvicorn. Needs the extra: ``pip install 'edge-redis[dashboard]'``.
"""

from __future__ import annotations

from edge_redis._core.public import publish
from edge_redis.errors import MissingExtraError

try:
    import jinja2  # noqa: F401
    import starlette  # noqa: F401
except ImportError as error:
    raise MissingExtraError("the page needs Starlette and Jinja2: pip install 'edge-redis[dashboard]'") from error

from edge_redis.dashboard._app import Dashboard, dashboard
from edge_redis.dashboard._visitors import Identify, Visitor

__all__ = ["Dashboard", "Identify", "Visitor", "dashboard"]

publish(__name__, globals(), __all__)
