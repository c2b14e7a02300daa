"""Starts a process of the main job; run by its path, as ``python -P _boot.py``.

``-P`` keeps the folder it is started in off the import path: a file named redis.py there must
not be imported. The package is the very one that this file belongs to, and not another that the
interpreter would find first.
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
