#!/usr/bin/env bash
# Add matrices on the server with the paths of TensorFlow Serving and KServe v1. The argument is the address of the REST
# server, 127.0.0.1:1500 by default.
set -euo pipefail
REST="${1:-127.0.0.1:1500}"

# A servable by its name alone is its first method; signature_name names another. Rows of instances, or columns.
curl -sS "http://$REST/v1/models/add:predict" -d '
{"signature_name": "add_cast", "instances": [{"x1": [[1, 2], [3, 4]], "x2": [[1, 1], [1, 1]]}]}'
echo
curl -sS "http://$REST/v1/models/add/versions/1:predict" -d '
{"instances": [{"x1": [[1.5, 2.5], [3.5, 4.5]], "x2": [[1.0, 1.0], [1.0, 1.0]]}]}'
echo
