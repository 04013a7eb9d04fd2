"""Run the pipeline of the distributed model over gRPC, and compare with NumPy."""

import argparse

import numpy as np
import reference

from mindspore_serving.client import Client


def run(address):
    """Two instances in one request: ones, and random numbers."""
    random = np.random.default_rng(1).random((reference.ROWS, reference.WIDTH), np.float32)
    inputs = [np.ones((reference.ROWS, reference.WIDTH), np.float32), random]
    with Client(address, "pipeline", "predict") as client:
        results = client.infer([{"x": x} for x in inputs])
    assert isinstance(results, list), f"the request failed: {results}"
    for x, result in zip(inputs, results, strict=True):
        assert "z" in result, f"an instance failed: {result}"
        for name, expected in zip(("x", "z"), reference.predict(x), strict=True):
            error = np.abs(result[name] - expected).max()
            assert error < 1e-4, f"{name} is off by {error}"
            print(
                f"predict: {name} has shape {result[name].shape} and begins with {result[name][0, 0]:.4f}, right"
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
