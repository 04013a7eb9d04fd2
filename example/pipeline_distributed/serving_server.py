"""Serve `pipeline`, whose model the agents of `serving_agent.py` run, over gRPC and REST until Ctrl+C."""

import argparse
from pathlib import Path

from mindspore_serving import server
from mindspore_serving.server import distributed

EXAMPLE = Path(__file__).resolve().parent


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
    parser.add_argument(
        "--distributed",
        metavar="ADDRESS",
        default="127.0.0.1:6200",
        help="where the agents are waited for, ip:port (default: %(default)s)",
    )
    return parser.parse_args()


def start():
    arguments = parse_arguments()
    distributed.start_servable(
        str(EXAMPLE),
        "pipeline",
        rank_table_json_file=str(EXAMPLE / "rank_table_2pcs.json"),
        version_number=1,
        distributed_address=arguments.distributed,
    )
    server.start_grpc_server(arguments.grpc)
    server.start_restful_server(arguments.rest)


if __name__ == "__main__":
    start()
