"""Add matrices on the server over gRPC and REST, and check the results."""

import argparse
import http.client
import json

import numpy as np

from mindspore_serving.client import Client

X1 = np.array([[1.1, 2.2], [3.3, 4.4]], np.float32)
X2 = np.array([[5.5, 6.6], [7.7, 8.8]], np.float32)


def check_add_common(grpc):
    instances = [{"x1": X1 * (i + 1), "x2": X2 * (i + 1)} for i in range(3)]
    with Client(grpc, "add", "add_common") as client:
        results = client.infer(instances)
    check(results, [(X1 + X2) * (i + 1) for i in range(3)], tolerance=1e-5)


def check_add_cast(grpc):
    ones = np.ones((2, 2), np.int32)
    with Client(grpc, "add", "add_cast") as client:
        results = client.infer({"x1": ones, "x2": ones})
    check(results, [np.full((2, 2), 2, np.float32)], tolerance=1e-5)


def check_add_common_over_rest(rest):
    instances = [{"x1": (X1 * (i + 1)).tolist(), "x2": (X2 * (i + 1)).tolist()} for i in range(3)]
    connection = http.client.HTTPConnection(rest)
    connection.request("POST", "/model/add:add_common", json.dumps({"instances": instances}))
    reply = json.loads(connection.getresponse().read())
    connection.close()
    check(reply.get("instances", reply), [(X1 + X2) * (i + 1) for i in range(3)], tolerance=1e-3)


def check(results, expected, tolerance):
    assert isinstance(results, list), f"the request failed: {results}"
    assert len(results) == len(expected), f"{len(results)} results instead of {len(expected)}"
    for result, y in zip(results, expected, strict=True):
        assert "y" in result, f"an instance failed: {result}"
        assert np.shape(result["y"]) == y.shape, f"shape {np.shape(result['y'])} instead of {y.shape}"
        assert np.allclose(result["y"], y, rtol=0, atol=tolerance), f"{result['y']} instead of {y}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--grpc",
        metavar="ADDRESS",
        default="127.0.0.1:5500",
        help="of the gRPC server, ip:port or unix:path (default: %(default)s)",
    )
    parser.add_argument(
        "--rest",
        metavar="ADDRESS",
        default="127.0.0.1:1500",
        help="of the REST server, ip:port (default: %(default)s)",
    )
    arguments = parser.parse_args()
    check_add_common(arguments.grpc)
    print("gRPC add_common: right")
    check_add_cast(arguments.grpc)
    print("gRPC add_cast: right")
    check_add_common_over_rest(arguments.rest)
    print("REST add_common: right")


if __name__ == "__main__":
    main()
