"""Start the agents of this machine, one per rank. They end with the server."""

import argparse
from pathlib import Path

from mindspore_serving.server import distributed

MODELS = Path(__file__).resolve().parent / "model"


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--distributed",
        metavar="ADDRESS",
        default="127.0.0.1:6200",
        help="where the server waits for agents, ip:port (default: %(default)s)",
    )
    parser.add_argument(
        "--agent_port",
        metavar="PORT",
        type=int,
        default=7000,
        help="port of the first agent; the others take the next ones (default: %(default)s)",
    )
    return parser.parse_args()


def start_agents():
    arguments = parse_arguments()
    ranks = len(list(MODELS.glob("device*")))
    distributed.startup_agents(
        distributed_address=arguments.distributed,
        model_files=[str(MODELS / f"device{rank}" / "matmul.mindir") for rank in range(ranks)],
        agent_start_port=arguments.agent_port,
    )


if __name__ == "__main__":
    start_agents()
