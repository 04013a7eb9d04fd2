#!/usr/bin/env bash
# Serves the add and echo models with the Triton that nvidia-pytriton brings, on loopback: ./pytriton.sh [HTTP_PORT
# [GRPC_PORT]]. Ctrl+C ends it. Makes an environment first, in $ENVIRONMENT or /tmp/env-pytriton, with $PYTHON; its
# tritonserver is linked against the shared libpython of a distribution's Python: Debian's 3.11 is one.
set -euo pipefail
here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)"
environment="${ENVIRONMENT:-/tmp/env-pytriton}"
if [[ ! -e "$environment/bin/.installed" ]]; then
  "${PYTHON:-/usr/bin/python3.11}" -m venv "$environment"
  "$environment/bin/pip" install --quiet nvidia-pytriton==0.7.0
  touch "$environment/bin/.installed"
fi
exec "$environment/bin/python" "$here/pytriton_models.py" "${1:-8000}" "${2:-8001}"
