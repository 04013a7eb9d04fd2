#!/usr/bin/env bash
# Serves the add and echo models with MindSpore Serving on loopback: ./mindspore_serving.sh [HTTP_PORT [GRPC_PORT]].
# Ctrl+C ends it. $PYTHON is one that has MindSpore Serving installed, by default that of this source tree.
set -euo pipefail
here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)"
work="$(mktemp -d)"
trap 'rm -rf -- "$work"' EXIT
mkdir -- "$work/add" "$work/echo"
cp -- "$here/mindspore_serving_add.py" "$work/add/servable_config.py"
cp -- "$here/mindspore_serving_echo.py" "$work/echo/servable_config.py"
"${PYTHON:-$here/../../.venv/bin/python}" "$here/mindspore_serving_start.py" "$work" "${1:-8000}" "${2:-8001}"
