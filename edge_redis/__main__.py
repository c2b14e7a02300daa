"""``python -m edge_redis`` is the command ``edge-redis``."""

import sys

from edge_redis.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
