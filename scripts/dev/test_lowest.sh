#!/bin/sh
# A short part of the suite with the lowest supported versions of the dependencies, in a venv of its own (.venv-lowest).
set -eu
cd "$(dirname "$0")/../.."
. scripts/dev/venv.sh
venv=.venv-lowest
stamp="$venv/.installed"
if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ]; then
  python=$(python_311)
  "$python" -m venv "$venv" 2>/dev/null || "$python" -m venv --without-pip --clear "$venv"
  if [ -x "$venv/bin/pip" ]; then pip="$venv/bin/python -m pip"; else pip="$python -m pip --python $venv/bin/python"; fi
  $pip install --quiet --disable-pip-version-check --constraint scripts/dev/lowest.txt --editable ".[test]"
  touch "$stamp"
fi
# redis-py 5 leaves asyncio connections of fakeredis to the collector, which warns of each.
suite() {
  "$venv/bin/python" -m pytest -q -o cache_dir="$venv/.pytest_cache" -m "not exploration" \
    -W ignore::ResourceWarning -W ignore::pytest.PytestUnraisableExceptionWarning \
    tests/unit tests/contract/test_cache.py tests/contract/test_health_monitor.py tests/contract/test_metrics.py \
    tests/contract/test_sync_updates.py tests/contract/test_worker.py tests/contract/test_connect_servers.py "$@"
}
# As in scripts/test: a test that fails beside others runs once more, alone.
suite -n 2 --dist worksteal "$@" || suite -n 0 --last-failed --last-failed-no-failures none "$@"
