"""Multiply matrices by the distributed model over gRPC, and compare with NumPy."""

import argparse

import numpy as np

from mindspore_serving.client import Client

WEIGHT = np.full((96, 16), 0.5, np.float32)


def run(address):
    """Two instances in one request: ones, and random numbers."""
    random = np.random.default_rng(1).random((128, 96), np.float32)
    inputs = [np.ones((128, 96), np.float32), random]
    with Client(address, "matmul", "predict") as client:
        results = client.infer([{"x": x} for x in inputs])
    assert isinstance(results, list), f"the request failed: {results}"
    for x, result in zip(inputs, results, strict=True):
        assert "y" in result, f"an instance failed: {result}"
        error = np.abs(result["y"] + x @ WEIGHT).max()
        assert error < 1e-4, f"off by {error}"
        print(
            f"predict: y has shape {result['y'].shape} and begins with {result['y'][0, 0]:.4f}, error {error:.1g}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--grpc",
        metavar="ADDRESS",
        default="127.0.0.1:5500",
        help="of the gRPC server, ip:port or unix:path (default: %(default)s)",
    )
    arguments = parser.parse_args()
    run(arguments.grpc)


if __name__ == "__main__":
    main()
