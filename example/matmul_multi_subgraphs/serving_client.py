"""Multiply matrices by two subgraphs on the server over gRPC, and check the results."""

import argparse

import numpy as np

from mindspore_serving.client import Client

WEIGHT = np.full((96, 16), 0.5, np.float32)


def expected(x, y):
    return -(x @ WEIGHT).sum(axis=0) - (y @ WEIGHT).sum(axis=0)


def run(address):
    """Three instances in one request."""
    instances = [
        {"x": np.full((128, 96), i, np.float32), "y": np.full((8, 96), i + 1, np.float32)} for i in range(3)
    ]
    with Client(address, "matmul", "predict") as client:
        results = client.infer(instances)
    assert isinstance(results, list), f"the request failed: {results}"
    for instance, result in zip(instances, results, strict=True):
        assert "z" in result, f"an instance failed: {result}"
        assert np.allclose(result["z"], expected(**instance)), f"{result['z']} is wrong"
        print(f"predict: z has shape {result['z'].shape} and begins with {result['z'][0]}, right")


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
