"""All targets, by name."""

from __future__ import annotations

from typing import Final

from support.fuzzing.parsers import PARSERS
from support.fuzzing.programs import PROGRAM_TARGETS
from support.fuzzing.servers import SERVER_TARGETS
from support.fuzzing.services import SERVICE_TARGETS
from support.fuzzing.target import Target

TARGETS: Final[dict[str, Target]] = {
    target.name: target for target in (*PARSERS, *SERVICE_TARGETS, *PROGRAM_TARGETS, *SERVER_TARGETS)
}
