#!/bin/sh
# The whole suite, in parallel; says what this host makes it skip.
# usage: tools/test.sh VENV [pytest arguments]
set -eu
venv=$1
shift
[ "$(id -u)" = 0 ] || echo "not root: the kernel tests (tests/kernel, tests/e2e) are skipped; run 'sudo make test' for all" >&2
unset PYTHONDONTWRITEBYTECODE
exec "$venv/bin/python" -m pytest -n "${PYCTR_TEST_JOBS:-4}" --dist loadfile -rfEs "$@"
