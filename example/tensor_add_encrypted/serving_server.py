"""Serve `add`, whose model is encrypted, over gRPC and REST until Ctrl+C."""

import argparse
import sys
from pathlib import Path

from mindspore_serving import server

FOLDER = Path(__file__).resolve().parent
KEY_FILE = FOLDER / "model.key"


def read_key(path):
    """The key in a file, which nobody but its owner may be able to read."""
    if path.stat().st_mode & 0o077:
        sys.exit(f"{path} can be read by others; type: chmod 600 {path}")
    return path.read_bytes()


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
    config = server.ServableStartConfig(
        servable_directory=str(FOLDER),
        servable_name="add",
        device_ids=0,
        dec_key=read_key(KEY_FILE),
        dec_mode="AES-GCM",
    )
    server.start_servables(config)
    server.start_grpc_server(arguments.grpc)
    server.start_restful_server(arguments.rest)


if __name__ == "__main__":
    start()
