# Sourced by the other scripts, in the project's folder: makes .venv where there is none, and keeps it in step
# with pyproject.toml. Needs Python 3.11+ and pip, nothing else.
#
# usage: need EXTRAS   (as pip writes them: "embedded,agent")

python_311() {
  for name in python3 python3.14 python3.13 python3.12 python3.11 python; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  echo "edge_redis needs Python 3.11 or later; none was found on PATH" >&2
  return 1
}

make_venv() {
  python=$(python_311) || exit 1
  # Debian splits ensurepip off: without it the venv has no pip of its own, and the system's serves.
  "$python" -m venv .venv 2>/dev/null || "$python" -m venv --without-pip --clear .venv
}

install() {
  if [ -x .venv/bin/pip ]; then
    .venv/bin/python -m pip "$@"
  else
    "$(python_311)" -m pip --python .venv/bin/python "$@"
  fi
}

need() {
  [ -x .venv/bin/python ] || make_venv
  stamp=".venv/.installed-$(echo "$1" | tr ',' '-')"
  if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ]; then
    echo "installing edge-redis[$1] into .venv (once, some minutes) ..." >&2
    install install --quiet --disable-pip-version-check --editable ".[$1]" || exit 1
    touch "$stamp"
  fi
}
