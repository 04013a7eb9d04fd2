#!/usr/bin/env bash
# Have the server recognise an image of 8x8 pixels with the paths of TensorFlow Serving and KServe v1. The argument is the
# address of the REST server, 127.0.0.1:1500 by default.
set -euo pipefail
REST="${1:-127.0.0.1:1500}"

curl -sS "http://$REST/v1/models/lenet"
echo
curl -sS "http://$REST/v1/models/lenet:predict" -d '
{"instances": [{"image": {"b64": "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAQ0lEQVR4nC3KQRWAIBQAsD0KYAM1ARGIYAUbGMUIRoEGRDADCb4Xdx7WETdo7YqC/BZRJXNfHhsY8adjZBLOPkGOig/AehG/xgmIjAAAAABJRU5ErkJggg=="}}]}'
echo
