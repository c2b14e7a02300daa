"""The main function of a process of the demo site: reads its plan, runs its role, returns an exit code.

A process ignores SIGINT, which a terminal sends to the whole process group: the parent decides in
which order its processes end. It ends on SIGTERM, or when the parent has ended.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Final

from edge_redis._site import cloud, edge, monitor
from edge_redis._site.process_plan import ProcessPlan, Role, read_plan
from edge_redis._site.stop_request import StopRequest
from edge_redis.errors import EdgeRedisError, StoreUnavailableError

EXIT_FINISHED: Final = 0
"""The process completed its task."""
EXIT_FAILED: Final = 1
EXIT_STOPPED: Final = 128 + signal.SIGTERM
"""A stop was requested."""
EXIT_STORE_UNAVAILABLE: Final = os.EX_TEMPFAIL
"""Redis cannot be reached: the process is restarted without limit."""

_STDIN: Final = 0

_RUN_ROLE: Final[Mapping[Role, Callable[[ProcessPlan, StopRequest], None]]] = {
    Role.EDGE: edge.run_live,
    Role.REPLAY: edge.run_replay,
    Role.CLOUD: cloud.run,
    Role.MONITOR: monitor.run,
}


def main() -> int:
    """Run the plan that is read from standard input; return the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    plan = read_plan(_STDIN)
    if plan is None:
        return EXIT_FINISHED
    try:
        with StopRequest([signal.SIGTERM, signal.SIGHUP], parent_pipe=_STDIN) as stop:
            _RUN_ROLE[plan.role](plan, stop)
            return EXIT_STOPPED if stop.is_requested else EXIT_FINISHED
    except StoreUnavailableError as error:
        print(error, file=sys.stderr)  # noqa: T201 -- the supervisor reads it
        return EXIT_STORE_UNAVAILABLE
    except EdgeRedisError as error:
        print(error, file=sys.stderr)  # noqa: T201 -- the supervisor reads it
        return EXIT_FAILED
    except Exception:  # noqa: BLE001 -- a bug: the supervisor reads the traceback
        traceback.print_exc()
        return EXIT_FAILED
