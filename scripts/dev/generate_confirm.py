"""Write docs/examples/confirm.lua, the script by which programs in other languages confirm changes.

``--check`` fails where the file is not what the package runs.
"""

import sys
from pathlib import Path

from edge_redis._sync.scripts import CONFIRM

PATH = Path(__file__).parents[2] / "docs" / "examples" / "confirm.lua"

if sys.argv[1:] != ["--check"]:
    PATH.write_text(CONFIRM.source)
elif not PATH.exists() or PATH.read_text() != CONFIRM.source:
    sys.exit("docs/examples/confirm.lua is not up to date: run scripts/dev/generate_confirm.py")
