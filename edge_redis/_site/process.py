"""A process of the main job: reads its plan, does its part until it is to stop, and ends with an exit code.

It ignores Ctrl-C, which a terminal sends to everybody: the process that started it decides in
which order they end. It ends by SIGTERM, or when that process is gone.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Final

from edge_redis._site import cloud, edge, monitor
from edge_redis._site.plan import Plan, Role, read_plan
from edge_redis._site.stopping import Stop
from edge_redis.errors import EdgeRedisError, StoreUnavailableError

EXIT_DONE: Final = 0
"""It came to its end by itself."""
EXIT_FAILED: Final = 1
EXIT_STOPPED: Final = 128 + signal.SIGTERM
"""It was asked to."""
EXIT_STORE_AWAY: Final = os.EX_TEMPFAIL
"""Redis cannot be reached: worth starting again, however often."""

_STDIN: Final = 0

_PARTS: Final[Mapping[Role, Callable[[Plan, Stop], None]]] = {
    Role.EDGE: edge.live,
    Role.REPLAY: edge.replay,
    Role.CLOUD: cloud.run,
    Role.MONITOR: monitor.run,
}


def main() -> int:
    """Do what the plan on standard input says; return the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    plan = read_plan(_STDIN)
    if plan is None:
        return EXIT_DONE
    try:
        with Stop([signal.SIGTERM, signal.SIGHUP], lifeline=_STDIN) as stop:
            _PARTS[plan.role](plan, stop)
            return EXIT_STOPPED if stop.asked else EXIT_DONE
    except StoreUnavailableError as error:
        print(error, file=sys.stderr)  # noqa: T201 -- whoever started this process shows it
        return EXIT_STORE_AWAY
    except EdgeRedisError as error:
        print(error, file=sys.stderr)  # noqa: T201 -- the same
        return EXIT_FAILED
    except Exception:  # noqa: BLE001 -- a bug: its trace goes to whoever started this process
        traceback.print_exc()
        return EXIT_FAILED
