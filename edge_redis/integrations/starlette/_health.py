"""An endpoint that tells a load balancer whether to send requests here, and people why not."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, TypeAlias

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from edge_redis._core import validation
from edge_redis.errors import EdgeRedisError
from edge_redis.integrations.starlette._application import Application, find_application
from edge_redis.models import EdgeNodeStatus

Check: TypeAlias = Callable[[], Awaitable[str | bool | None] | str | bool | None]
"""A check of the user's: None or True where all is well, else a reason or False; an error is a reason too."""

_HEADERS: Final = {"Cache-Control": "no-store"}
_MISSED_HEARTBEATS: Final = 3


def health_endpoint(
    *,
    timeout_seconds: float = 2.0,
    max_lag_seconds: float | None = None,
    checks: Mapping[str, Check] | None = None,
    show_reasons: bool = True,
) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint that answers 200 while this process can serve, and 503 with the reasons otherwise.

    The body is JSON: ``status`` ("healthy" or "unhealthy"), ``reasons`` (a list of texts) and ``checks`` (each with
    ``healthy`` and ``milliseconds``). Checked are, at the same time: "store", whether the server answers; "node",
    whether this process's heartbeats were recorded, with ``EdgeLifespan(node=...)``; "worker", with
    ``max_lag_seconds``; and your own. Nothing is written.

    Args:
        timeout_seconds: for each check. A server that hangs is a reason after this time.
        max_lag_seconds: how long a change may wait for the cloud; None: the worker is not checked.
        checks: by name, functions that return None or True, or a reason, or raise; coroutine functions too.
        show_reasons: False leaves reasons out of the body, where anyone may ask for it.

    """
    validation.check_positive("timeout_seconds", timeout_seconds)
    own = {name: validation.check_callable(f"check {name}", check) for name, check in (checks or {}).items()}

    async def health(request: Request) -> Response:
        """Whether this process can serve."""
        running = find_application(request.scope.get("state", {}))
        wanted = {**_built_in(running, max_lag_seconds), **own}
        found = await asyncio.gather(*(_judge(check, timeout_seconds) for check in wanted.values()))
        reasons = [f"{name}: {reason}" for name, (reason, _) in zip(wanted, found, strict=True) if reason]
        body: dict[str, Any] = {
            "status": "unhealthy" if reasons else "healthy",
            "reasons": reasons if show_reasons else [],
            "checks": {
                name: {"healthy": not reason, "milliseconds": round(seconds * 1000, 1)}
                for name, (reason, seconds) in zip(wanted, found, strict=True)
            },
        }
        return JSONResponse(body, status_code=503 if reasons else 200, headers=_HEADERS)

    return health


def _built_in(running: Application, max_lag_seconds: float | None) -> dict[str, Check]:
    checks: dict[str, Check] = {"store": running.edge.health.summary}  # type: ignore[dict-item]  # any result but an error
    if running.node is not None:
        checks["node"] = partial(_check_node, running)
    if running.worker is not None and max_lag_seconds is not None:
        checks["worker"] = partial(_check_worker, running, max_lag_seconds)
    return checks


async def _judge(check: Check, timeout_seconds: float) -> tuple[str | None, float]:
    """Return the reason of a check, None where all is well, and how long it took in seconds."""
    begun = time.monotonic()
    try:
        async with asyncio.timeout(timeout_seconds):
            found = check()
            result = await found if inspect.isawaitable(found) else found
    except TimeoutError:
        reason: str | None = f"no answer within {timeout_seconds} s"
    except Exception as error:  # noqa: BLE001 -- whatever a check raises is its reason
        reason = str(error) if isinstance(error, EdgeRedisError) else f"{type(error).__name__}: {error}"
    else:
        reason = result if isinstance(result, str) else "failed" if result is False else None
    return reason, time.monotonic() - begun


def _check_node(running: Application) -> str | None:
    node, age = running.node, running.heartbeat_age
    assert node is not None
    if age is None:
        return f"no heartbeat of {node.id} was recorded yet"
    if age > _MISSED_HEARTBEATS * running.heartbeat_seconds:
        return f"no heartbeat of {node.id} was recorded for {age:.0f} s"
    return f"{node.id} reports {node.status}" if node.status is EdgeNodeStatus.OFFLINE else None


async def _check_worker(running: Application, max_lag_seconds: float) -> str | None:
    assert running.worker is not None
    waited = (await running.worker.lag())["oldest_seconds"]
    return f"a change has waited {waited:.0f} s for the cloud" if waited > max_lag_seconds else None
