#!/bin/sh
# A virtual environment in the checkout with pyctr (editable) and what its tests need. Nothing global is touched.
# usage: tools/setup.sh VENV
set -eu
venv=$1
needs="import sys; sys.exit(sys.version_info < (3, 11))"
command -v uv >/dev/null 2>&1 || needs="import ensurepip, venv; $needs"
python=
# the distribution's first: none but root can change it, and it is made with profiles and link-time optimisation, which
# is a seventh of the processor time of a container's start (docs/performance.md)
for candidate in /usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11; do
    if "$candidate" -c "$needs" >/dev/null 2>&1; then
        python=$candidate
        break
    fi
done
if command -v uv >/dev/null 2>&1; then
    echo "setting up $venv with uv"
    # without one, uv gets one
    [ -x "$venv/bin/python" ] || uv venv --quiet --python "${python:->=3.11}" "$venv"
    uv pip install --quiet --python "$venv/bin/python" --group dev --compile-bytecode -e .
    "$venv/bin/python" tools/scripts.py
    exit
fi
if [ -z "$python" ]; then
    echo "pyctr needs python3 >= 3.11 with venv; this host has $(python3 --version 2>&1); on Debian and Ubuntu: apt install python3-venv" >&2
    exit 1
fi
if [ ! -x "$venv/bin/python" ]; then
    echo "setting up $venv with $($python --version)"
    "$python" -m venv "$venv"
fi
# --group needs pip 25.1
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
PYTHONDONTWRITEBYTECODE= "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --group dev -e .
# nothing needs it, and its .pth file costs every start of an interpreter a millisecond
"$venv/bin/python" -m pip uninstall --quiet --disable-pip-version-check --yes setuptools
"$venv/bin/python" tools/scripts.py
