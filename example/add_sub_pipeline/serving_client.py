"""Add and subtract matrices on the server over gRPC, and check the results."""

import argparse

import numpy as np

from mindspore_serving.client import Client

X1 = np.array([[1.5, 2.5], [3.5, 4.5]], np.float32)
X2 = np.array([[10, 20], [30, 40]], np.float32)
X3 = np.array([[0.5, 1.5], [2.5, 3.5]], np.float32)


def run(address, method, expected):
    """Three instances in one request; the second and third are multiples of the first."""
    instances = [{"x1": X1 * i, "x2": X2 * i, "x3": X3 * i} for i in (1, 2, 3)]
    with Client(address, "add_sub", method) as client:
        results = client.infer(instances)
    assert isinstance(results, list), f"the request failed: {results}"
    for i, result in zip((1, 2, 3), results, strict=True):
        assert "y" in result, f"an instance failed: {result}"
        assert np.allclose(result["y"], expected(i), atol=1e-5), f"{result['y']} instead of {expected(i)}"
    print(f"{method}: three results, all right, the first is\n{results[0]['y']}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--grpc",
        metavar="ADDRESS",
        default="127.0.0.1:5500",
        help="of the gRPC server, ip:port or unix:path (default: %(default)s)",
    )
    arguments = parser.parse_args()
    run(arguments.grpc, "add_sub_only_model", lambda i: (X1 + X2 - X3) * i)
    run(arguments.grpc, "add_sub_complex", lambda i: (X1 + X2 - X3) * i + 2)


if __name__ == "__main__":
    main()
