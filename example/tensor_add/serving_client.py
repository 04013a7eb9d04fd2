"""Add matrices on the server over gRPC."""

import argparse
import sys

import numpy as np

from mindspore_serving.client import Client


def run_add_common(address):
    """Three instances in one request, float32."""
    ones = np.ones((2, 2), np.float32)
    instances = [{"x1": ones * i, "x2": ones * i} for i in (1, 2, 3)]
    with Client(address, "add", "add_common") as client:
        return client.infer(instances)


def run_add_cast(address):
    """One instance of another type."""
    ones = np.ones((2, 2), np.int32)
    with Client(address, "add", "add_cast") as client:
        return client.infer({"x1": ones, "x2": ones})


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--grpc",
        metavar="ADDRESS",
        default="127.0.0.1:5500",
        help="of the gRPC server, ip:port or unix:path (default: %(default)s)",
    )
    arguments = parser.parse_args()
    for run in (run_add_common, run_add_cast):
        result = run(arguments.grpc)
        if isinstance(result, dict):  # not a list: the request as a whole failed
            sys.exit(f"{run.__name__}: {result['error']}")
        print(result)


if __name__ == "__main__":
    main()
