"""Serve add, and echo for each datatype, with pytriton: HTTP_PORT GRPC_PORT. Runs in pytriton's environment."""

import sys

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig, TritonSecurityConfig

# Large, so that the checks with large messages are allowed to send many rows.
MOST_ROWS = 1 << 20
ECHOED = {
    "bool": np.bool_,
    "uint8": np.uint8,
    "uint16": np.uint16,
    "uint32": np.uint32,
    "uint64": np.uint64,
    "int8": np.int8,
    "int16": np.int16,
    "int32": np.int32,
    "int64": np.int64,
    "fp16": np.float16,
    "fp32": np.float32,
    "fp64": np.float64,
    "bytes": bytes,
}


@batch
def add(x1: np.ndarray, x2: np.ndarray) -> dict[str, np.ndarray]:
    return {"y": x1 + x2}


@batch
def echo(x: np.ndarray) -> dict[str, np.ndarray]:
    return {"y": x}


def main() -> None:
    http_port, grpc_port = int(sys.argv[1]), int(sys.argv[2])
    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=http_port,
        grpc_address="127.0.0.1",
        grpc_port=grpc_port,
        metrics_address="127.0.0.1",
        metrics_port=grpc_port + 1,
    )
    batching = ModelConfig(max_batch_size=MOST_ROWS, batcher=DynamicBatcher(max_queue_delay_microseconds=0))
    pair = [Tensor(name="x1", dtype=np.float32, shape=(2,)), Tensor(name="x2", dtype=np.float32, shape=(2,))]
    # pytriton keeps statistics and other paths behind a token; Triton alone does not.
    open_to_all = TritonSecurityConfig(restricted_endpoints=[])
    with Triton(config=config, security_config=open_to_all) as triton:
        triton.bind("add", add, pair, [Tensor(name="y", dtype=np.float32, shape=(2,))], config=batching)
        for name, kind in ECHOED.items():
            x, y = Tensor(name="x", dtype=kind, shape=(2,)), Tensor(name="y", dtype=kind, shape=(2,))
            triton.bind(f"echo_{name}", echo, [x], [y], config=batching)
        triton.serve()


main()
