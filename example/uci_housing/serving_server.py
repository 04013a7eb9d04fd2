"""Serve `uci_housing_model` and the pipeline `uci` over gRPC and REST until Ctrl+C."""

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
    configs = [server.ServableStartConfig(folder, name) for name in ("uci_housing_model", "uci")]
    # What requests mean that name no servable: those to /GeneralModelService/inference.
    server.start_servables(configs, default_servable="uci_housing_model")
    server.start_grpc_server(arguments.grpc)
    server.start_restful_server(arguments.rest)


if __name__ == "__main__":
    start()
