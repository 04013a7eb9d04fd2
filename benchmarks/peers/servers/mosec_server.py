"""mosec: `python mosec_server.py METHOD BATCH WAIT_MS --address HOST --port PORT`; options are mosec's own.

One worker process, as `append_worker` starts them by default. mosec's front end is written in Rust, so one is enough.
JSON is read and written by orjson: mosec's documentation leaves the encoding to two methods that users may override.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import orjson
from mosec import Server, Worker


class Json(Worker):
    """Arrays as JSON."""

    def deserialize(self, data: bytes) -> Any:
        return orjson.loads(data)

    def serialize(self, data: Any) -> bytes:
        return orjson.dumps(data)


def arrays(request: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    return np.array(request["x1"], np.float32), np.array(request["x2"], np.float32)


class Add(Json):
    """The sum of one request."""

    def forward(self, data: dict[str, Any]) -> dict[str, Any]:
        x1, x2 = arrays(data)
        return {"y": (x1 + x2).tolist()}


class Identity(Json):
    """The first input of one request."""

    def forward(self, data: dict[str, Any]) -> dict[str, Any]:
        x1, _ = arrays(data)
        return {"y": x1.tolist()}


class AddBatch(Json):
    """The sums of a batch, computed at once."""

    def forward(self, data: list[dict[str, Any]]) -> list[dict[str, Any]]:
        x1 = np.array([request["x1"] for request in data], np.float32)
        x2 = np.array([request["x2"] for request in data], np.float32)
        return [{"y": y} for y in (x1 + x2).tolist()]


class IdentityBatch(Json):
    """The first inputs of a batch."""

    def forward(self, data: list[dict[str, Any]]) -> list[dict[str, Any]]:
        x1 = np.array([request["x1"] for request in data], np.float32)
        np.array([request["x2"] for request in data], np.float32)
        return [{"y": y} for y in x1.tolist()]


SINGLE = {"add": Add, "identity": Identity}
BATCHED = {"add": AddBatch, "identity": IdentityBatch}

if __name__ == "__main__":
    method, batch, wait_ms = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    del sys.argv[1:4]
    server = Server()
    workers = BATCHED if batch > 1 else SINGLE
    server.append_worker(workers[method], num=1, max_batch_size=batch, max_wait_time=wait_ms)
    server.run()
