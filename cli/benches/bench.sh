#!/bin/sh
# `make bench`: rescan side by side with DuckDB and Polars. Flags go to bench.py; RESCAN names the binary.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
venv=$(sh "$here/venv.sh")
exec "$venv/bin/python" "$here/bench.py" "$@"
