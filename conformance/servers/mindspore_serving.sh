#!/usr/bin/env bash
# Serves the add and echo models with MindSpore Serving, on loopback: ./mindspore_serving.sh [HTTP_PORT [GRPC_PORT]].
# Ctrl+C ends it. $PYTHON is a Python in which MindSpore Serving is installed; by default that of ./build.sh setup.
set -euo pipefail
here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)"
work="$(mktemp -d)"
trap 'rm -rf -- "$work"' EXIT
cd -- "$work"
"${PYTHON:-$here/../../.venv/bin/python}" "$here/mindspore_serving_start.py" "${1:-5600}" "${2:-5500}"
