"""Entry script of a process of the demo site; run by its path, as ``python -P _start.py``.

``-P`` keeps the working directory off the import path, so that a file named redis.py there is not
imported. The package is loaded from this file's own location, so that a process runs the same
code as the command that started it, whatever else is installed.
"""

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path

_PACKAGE = "edge_redis"


def _import_own_package() -> None:
    spec = PathFinder.find_spec(_PACKAGE, [str(Path(__file__).parents[2])])
    assert spec is not None
    assert spec.loader is not None
    package = sys.modules[_PACKAGE] = module_from_spec(spec)
    spec.loader.exec_module(package)


if __name__ == "__main__":
    _import_own_package()
    from edge_redis._site.process import main

    sys.exit(main())
