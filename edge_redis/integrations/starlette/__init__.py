"""Services, health and a response cache in a Starlette or FastAPI application: ``pip install 'edge-redis[starlette]'``.

from edge_redis.integrations.starlette import EdgeLifespan, ResponseCache, health_endpoint

app = FastAPI(lifespan=EdgeLifespan(namespace="prices", node=EdgeNode("web-1", "Web 1"), watch=True))
app.add_middleware(ResponseCache)
app.add_route("/health", health_endpoint())

@app.get("/price/{article}")
async def price(article: str, request: Request) -> float:
edge = request.state.edge  # an edge_redis.aio.EdgeRedis
"""

from edge_redis.errors import MissingExtraError

try:
    import starlette  # noqa: F401
except ImportError as error:
    raise MissingExtraError("this integration needs Starlette: pip install 'edge-redis[starlette]'") from error

from edge_redis._core.public import publish
from edge_redis.integrations.starlette._health import health_endpoint
from edge_redis.integrations.starlette._lifespan import EdgeLifespan
from edge_redis.integrations.starlette._policy import cache_headers
from edge_redis.integrations.starlette._response_cache import ResponseCache

__all__ = ["EdgeLifespan", "ResponseCache", "cache_headers", "health_endpoint"]

publish(__name__, globals(), __all__)
