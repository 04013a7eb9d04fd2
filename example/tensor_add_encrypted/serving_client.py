"""Add matrices on the server over gRPC. A client needs no key."""

import argparse
import sys

import numpy as np

from mindspore_serving.client import Client


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--grpc",
        metavar="ADDRESS",
        default="127.0.0.1:5500",
        help="of the gRPC server, ip:port or unix:path (default: %(default)s)",
    )
    arguments = parser.parse_args()
    ones = np.ones((2, 2), np.float32)
    with Client(arguments.grpc, "add", "add_common") as client:
        result = client.infer([{"x1": ones * i, "x2": ones * i} for i in (1, 2)])
    if isinstance(result, dict):  # not a list: the request as a whole failed
        sys.exit(result["error"])
    print(result)


if __name__ == "__main__":
    main()
