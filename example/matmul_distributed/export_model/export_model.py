"""Export -(x @ weight), spread over ranks, to ../model/device0, ../model/device1, ..., and a rank table for them.

Each rank is a process, since a graph with a collective operation is exported by a process that takes part in it.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[1]
MODELS = EXAMPLE / "model"
ROWS, WIDTH, OUTPUTS = 128, 96, 16


def export_part():
    """Export the part of this process: it multiplies some columns of x, and all ranks add up what they have got."""
    import mindspore as ms
    import numpy as np
    from mindspore import Tensor, nn, ops
    from mindspore.communication import get_group_size, get_rank, init

    class Net(nn.Cell):
        """-(x @ weight); every weight is 0.5, and this rank holds some rows of them."""

        def __init__(self, rank, ranks):
            super().__init__()
            columns = WIDTH // ranks
            self.start, self.stop = rank * columns, (rank + 1) * columns
            self.weight = Tensor(np.full((columns, OUTPUTS), 0.5, np.float32))
            self.sum = ops.AllReduce()

        def construct(self, x):
            return -self.sum(ops.matmul(x[:, self.start : self.stop], self.weight))

    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    init("mccl")
    rank = get_rank()
    x = Tensor(np.ones((ROWS, WIDTH), np.float32))
    export(ms, Net(rank, get_group_size()), [x], MODELS / f"device{rank}" / "matmul.mindir")


def export(ms, network, inputs, model_file):
    """Write a MindIR file under its name once it is complete. MindSpore makes files that cannot be overwritten."""
    unfinished = model_file.with_name("unfinished.mindir")
    model_file.parent.mkdir(parents=True, exist_ok=True)
    unfinished.unlink(missing_ok=True)
    ms.export(network, *inputs, file_name=str(unfinished), file_format="MINDIR")
    unfinished.chmod(0o644)
    unfinished.replace(model_file)


def run_ranks(ranks):
    """Run this script once per rank, and once as the scheduler through which the ranks find each other."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "MS_WORKER_NUM": str(ranks),
        "MS_SCHED_HOST": "127.0.0.1",
        "MS_SCHED_PORT": str(port),
        "MS_WORKER_IP": "127.0.0.1",
        "MS_TOPO_TIMEOUT": "60",
        "GLOG_v": "3",
    }
    roles = [{"MS_ROLE": "MS_WORKER", "MS_NODE_ID": str(rank)} for rank in range(ranks)]
    command = [sys.executable, __file__]
    scheduler = subprocess.Popen(command, env={**environment, "MS_ROLE": "MS_SCHED"})
    try:
        processes = [subprocess.Popen(command, env={**environment, **role}) for role in roles]
        failures = [process.wait() for process in processes]
    finally:
        scheduler.kill()
        scheduler.wait()
    if any(failures):
        sys.exit(f"Exporting failed, exit codes of the ranks: {failures}")


def write_rank_table(ranks):
    """Write the rank table for ranks on this machine, if there is none for that many."""
    path = EXAMPLE / f"rank_table_{ranks}pcs.json"
    if path.exists():
        return
    devices = [{"device_id": str(i), "device_ip": "127.0.0.1", "rank_id": str(i)} for i in range(ranks)]
    server = {"server_id": "127.0.0.1", "device": devices, "host_nic_ip": "reserve"}
    table = {"version": "1.0", "server_count": "1", "server_list": [server], "status": "completed"}
    path.write_text(json.dumps(table, indent=2) + "\n")
    print(f"Wrote {path}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, default=2, help="number of ranks (default: %(default)s)")
    ranks = parser.parse_args().ranks
    if not 1 <= ranks <= 8 or WIDTH % ranks:
        parser.error(f"--ranks should be at most 8 and divide {WIDTH}, but got {ranks}")
    shutil.rmtree(MODELS, ignore_errors=True)  # the other scripts count the folders in it
    run_ranks(ranks)
    for file in sorted(MODELS.glob("*/*.mindir")):
        print(f"Exported {file}")
    write_rank_table(ranks)


if __name__ == "__main__":
    if "MS_ROLE" in os.environ:
        export_part()
        os._exit(0)  # MindSpore's clean-up crashes now and then where ranks end at different times
    else:
        main()
