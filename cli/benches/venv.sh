#!/bin/sh
# Makes the Python environment that holds the engines rescan is compared with, and prints where it is.
# The pins are in requirements.txt; a finished environment is reused until they change.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
venv=${RESCAN_VENV:-$HOME/.cache/rescan/venv}
pins=$here/requirements.txt

lack() {
    echo "venv: $1" >&2
    exit 69
}

if ! cmp -s "$pins" "$venv/installed.txt"; then
    command -v python3 >/dev/null || lack "this machine has no python3: install python3 and python3-venv"
    python3 -m venv "$venv" >&2 || lack "python3 cannot make an environment in $venv: install python3-venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$pins" >&2 ||
        lack "pip cannot install $(tr '\n' ' ' <"$pins")from the package index"
    cp "$pins" "$venv/installed.txt"
fi
echo "$venv"
