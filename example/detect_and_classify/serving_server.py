"""Serve three servables, of which one calls the two others, over gRPC and REST until Ctrl+C."""

import argparse
from pathlib import Path

from mindspore_serving import server


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--grpc",
        metavar="ADDRESS",
        default="127.0.0.1:5500",
        help="where gRPC listens, ip:port or unix:path (default: %(default)s)",
    )
    parser.add_argument(
        "--rest",
        metavar="ADDRESS",
        default="127.0.0.1:1500",
        help="where REST listens, ip:port (default: %(default)s)",
    )
    return parser.parse_args()


def start():
    arguments = parse_arguments()
    folder = str(Path(__file__).resolve().parent)
    server.start_servables(
        [
            server.ServableStartConfig(folder, "detector", num_parallel_workers=1),
            server.ServableStartConfig(folder, "classifier", num_parallel_workers=2),
            server.ServableStartConfig(folder, "joiner", num_parallel_workers=1),
        ]
    )
    server.start_grpc_server(arguments.grpc)
    server.start_restful_server(arguments.rest)


if __name__ == "__main__":
    start()
