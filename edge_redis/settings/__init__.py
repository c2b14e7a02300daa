"""The settings of an application: where its server, its cloud and their passwords are.

    from edge_redis.settings import Settings

    settings = Settings.load()
    with settings.open() as edge:
        edge.cache.put("greeting", "hello")

They come from arguments, the environment and a TOML file, by the names and in the order of the command ``edge-redis``,
which reads them by the same code.
"""

from edge_redis._core.public import publish
from edge_redis.settings._settings import Settings

__all__ = ["Settings"]

publish(__name__, globals(), __all__)
