"""Run pipelines and a method on the server over gRPC, and check the results."""

import argparse

import numpy as np

from mindspore_serving.client import Client

X1 = np.array([[1.5, 2.5], [3.5, 4.5]], np.float32)
X2 = np.array([[1, 2], [3, 4]], np.float32)
X3 = np.array([[0.5, 0.5], [0.5, 0.5]], np.float32)


def doubled_until_100(y):
    while y.max() < 100:
        y = y + y
    return y


def run(address, method, instances, expected):
    """One request; `expected` gives the outputs for the inputs of an instance."""
    with Client(address, "arithmetic", method) as client:
        results = client.infer(instances)
    assert isinstance(results, list), f"the request failed: {results}"
    for instance, result in zip(instances, results, strict=True):
        for name, value in expected(**instance).items():
            assert name in result, f"an instance failed: {result}"
            assert np.allclose(result[name], value), f"{name} is {result[name]} instead of {value}"
    print(f"{method}: {len(results)} results, all right, the first is")
    for name, value in sorted(results[0].items()):
        print(name, value.tolist())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--grpc",
        metavar="ADDRESS",
        default="127.0.0.1:5500",
        help="of the gRPC server, ip:port or unix:path (default: %(default)s)",
    )
    address = parser.parse_args().grpc
    pairs = [{"x1": X1 * i, "x2": X2 * i} for i in (1, 2, 3)]
    threes = [{"x1": X1 * i, "x2": X2, "x3": X3} for i in (1, 2)]
    run(address, "predict", pairs, lambda x1, x2: {"y1": x1 + x2, "y2": x1 - x2})
    run(
        address,
        "predict_test",
        threes,
        lambda x1, x2, x3: {"x": doubled_until_100(x1 + x2 + x3), "z": x1 - x2 - x3},
    )
    run(address, "add", pairs, lambda x1, x2: {"y": x1 + x2})


if __name__ == "__main__":
    main()
