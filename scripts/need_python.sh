#!/bin/sh
# Stop with a clear message when Python cannot make the virtual environment.
python=$1
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "given: PYTHON=$python ($("$python" --version 2>&1 | head -n 1))" >&2
    echo "allowed: Python 3.11 or newer" >&2
    echo "fix: install it, or name it: make demo PYTHON=python3.12" >&2
    exit 2
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    echo "given: $python without the modules venv and ensurepip" >&2
    echo "allowed: a Python that can make virtual environments" >&2
    echo "fix: on Debian and Ubuntu: apt-get install python3-venv" >&2
    exit 2
fi
