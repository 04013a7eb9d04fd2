#!/usr/bin/env bash
# Serves the add and echo models with the tritonserver that nvidia-pytriton brings, on loopback: ./pytriton.sh
# [HTTP_PORT [GRPC_PORT]]. Ctrl+C ends it. The server runs by itself, with its Python backend and a model repository:
# what is checked is Triton, not pytriton. Makes an environment first, in $ENVIRONMENT or /tmp/env-pytriton, with
# $PYTHON, a Python of 3.9 to 3.13 that has a shared libpython where the system finds it: Debian's 3.11 is one.
set -euo pipefail
here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)"
environment="${ENVIRONMENT:-/tmp/env-pytriton}"
if ! "$environment/bin/python" -c 'import importlib.metadata as m; m.version("nvidia-pytriton")' 2>/dev/null; then
  "${PYTHON:-/usr/bin/python3.11}" -m venv "$environment"
  "$environment/bin/pip" install --quiet nvidia-pytriton==0.7.0
fi
packages="$("$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')"
version="$("$environment/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
work="$(mktemp -d)"
trap 'rm -rf -- "$work"' EXIT
cp -r -- "$packages/pytriton/tritonserver" "$work/server"
cp -- "$work/server/python_backend_stubs/$version/triton_python_backend_stub" "$work/server/backends/python/"
"$environment/bin/python" "$here/pytriton_repository.py" "$work/models"
# The backend finds its packages by the first python3 of the path.
export LD_LIBRARY_PATH="$packages/nvidia_pytriton.libs" PATH="$environment/bin:$PATH"
"$work/server/bin/tritonserver" \
  --http-address 127.0.0.1 --http-port "${1:-8000}" --grpc-address 127.0.0.1 --grpc-port "${2:-8001}" \
  --allow-metrics false --backend-directory "$work/server/backends" --cache-directory "$work/server/caches" \
  --model-repository "$work/models" --model-control-mode explicit --load-model '*' \
  --backend-config python,shm-region-prefix-name="oip_$$"
