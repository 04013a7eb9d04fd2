"""LitServe: `python litserve_server.py METHOD PORT`.

One worker on the CPU and, as by default, one HTTP process. `fast_queue` is what LitServe's documentation advises above
100 requests per second.
"""

import sys

import litserve
import numpy as np


class Sum(litserve.LitAPI):
    """x1 + x2."""

    def setup(self, device: str) -> None:
        return

    # LitServe reads the hints of the two methods that have none, and treats requests and replies by them.
    def decode_request(self, request):  # type: ignore[no-untyped-def]
        return np.array(request["x1"], np.float32), np.array(request["x2"], np.float32)

    def predict(self, x: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        return x[0] + x[1]

    def encode_response(self, output):  # type: ignore[no-untyped-def]
        return {"y": output.tolist()}


class First(Sum):
    """x1."""

    def predict(self, x: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        return x[0]


APIS = {"add": Sum, "identity": First}

if __name__ == "__main__":
    server = litserve.LitServer(
        APIS[sys.argv[1]](),
        accelerator="cpu",
        workers_per_device=1,
        fast_queue=True,
        disable_openapi_url=True,
    )
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[2]),
        log_level="warning",
        access_log=False,
        generate_client_file=False,
    )
