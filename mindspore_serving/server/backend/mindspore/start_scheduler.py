"""Start script of the scheduler of a group of ranks; the agent of rank 0 runs it with the same interpreter.

It takes no part in the computation: it tells the ranks where the others are, and listens for their signs of life.
"""

import argparse
import sys
from pathlib import Path


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="start_scheduler.py", description="Started by an agent, not by hand."
    )
    parser.add_argument("--address", required=True, help="ip:port to listen on")
    parser.add_argument("--rank_size", type=int, required=True, help="number of ranks")
    parser.add_argument("--parent", type=int, required=True, help="process id of the agent")
    return parser.parse_args()


if __name__ == "__main__":
    # Python puts this file's folder first on the path, where MindSpore's imports must not look.
    sys.path[0] = str(Path(__file__).resolve().parents[4])

    from mindspore_serving.server.backend.mindspore.ranks import schedule
    from mindspore_serving.server.host.owner import end_with_owner

    arguments = parse_arguments()
    end_with_owner(arguments.parent)
    schedule(arguments.address, arguments.rank_size)
