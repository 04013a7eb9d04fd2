#!/usr/bin/env bash
# Serves the add and echo models with MLServer on loopback: ./mlserver.sh [HTTP_PORT [GRPC_PORT]]. Ctrl+C ends it.
# Makes an environment first, in $ENVIRONMENT or /tmp/env-mlserver, with $PYTHON (3.9 to 3.12).
set -euo pipefail
here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)"
environment="${ENVIRONMENT:-/tmp/env-mlserver}"
if [[ ! -x "$environment/bin/mlserver" ]]; then
  "${PYTHON:-python3.11}" -m venv "$environment"
  "$environment/bin/pip" install --quiet mlserver==1.7.1
fi
models="$(mktemp -d)"
trap 'rm -rf -- "$models"' EXIT
"$environment/bin/python" "$here/mlserver_settings.py" "$models" "${1:-8080}" "${2:-8081}"
cd -- "$models"
PYTHONPATH="$here" "$environment/bin/mlserver" start "$models"
