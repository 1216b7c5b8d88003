#!/bin/sh
# A virtual environment in the checkout with pyctr (editable) and what its tests need. Nothing global is touched.
# usage: tools/setup.sh VENV
set -eu
venv=$1
python=
for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null 2>&1 && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if command -v uv >/dev/null 2>&1; then
    echo "setting up $venv with uv"
    [ -x "$venv/bin/python" ] || uv venv --quiet --python '>=3.11' "$venv"
    uv pip install --quiet --python "$venv/bin/python" --group dev --compile-bytecode -e .
    "$venv/bin/python" tools/scripts.py
    exit
fi
if [ -z "$python" ]; then
    echo "pyctr needs python3 >= 3.11; this host has $(python3 --version 2>&1)" >&2
    exit 1
fi
if [ ! -x "$venv/bin/python" ]; then
    echo "setting up $venv with $($python --version)"
    "$python" -m venv "$venv" || {
        echo "could not make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2
        exit 1
    }
fi
# --group needs pip 25.1
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
PYTHONDONTWRITEBYTECODE= "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --group dev -e .
# nothing needs it, and its .pth file costs every start of an interpreter a millisecond
"$venv/bin/python" -m pip uninstall --quiet --disable-pip-version-check --yes setuptools
"$venv/bin/python" tools/scripts.py
