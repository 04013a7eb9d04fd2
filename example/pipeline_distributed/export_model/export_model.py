"""Export two networks, spread over two ranks, to ../model/device0 and ../model/device1: a full and an incremental one.

Each rank is a process, since a graph with a collective operation is exported by a process that takes part in it.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[1]
MODELS = EXAMPLE / "model"
RANKS = 2
sys.path.append(str(EXAMPLE))

import reference  # noqa: E402  # beside this folder


def export_part():
    """Export what the rank of this process computes of both networks."""
    import mindspore as ms
    import numpy as np
    from mindspore import Tensor, nn, ops
    from mindspore.communication import get_rank, init

    class Full(nn.Cell):
        """tanh(x @ FULL): this rank multiplies some columns of x, and all ranks add up what they have got."""

        def __init__(self, rank):
            super().__init__()
            columns = reference.WIDTH // RANKS
            self.start, self.stop = rank * columns, (rank + 1) * columns
            self.weight = Tensor(reference.FULL[self.start : self.stop])
            self.sum = ops.AllReduce()

        def construct(self, x):
            return ops.tanh(self.sum(ops.matmul(x[:, self.start : self.stop], self.weight)))

    class Increment(nn.Cell):
        """tanh(state @ INCREMENT): this rank computes some columns, and gathers those of the others as rows."""

        def __init__(self, rank):
            super().__init__()
            columns = reference.STATE // RANKS
            self.weight = Tensor(reference.INCREMENT[:, rank * columns : (rank + 1) * columns].copy())
            self.gather = ops.AllGather()

        def construct(self, state):
            columns = ops.tanh(ops.matmul(state, self.weight))
            return self.gather(columns.swapaxes(0, 1)).swapaxes(0, 1)

    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    init("mccl")
    rank = get_rank()
    x = Tensor(np.ones((reference.ROWS, reference.WIDTH), np.float32))
    state = Tensor(np.ones((reference.ROWS, reference.STATE), np.float32))
    export(ms, Full(rank), [x], MODELS / f"device{rank}" / "full.mindir")
    export(ms, Increment(rank), [state], MODELS / f"device{rank}" / "increment.mindir")


def export(ms, network, inputs, model_file):
    """Write a MindIR file under its name once it is complete. MindSpore makes files that cannot be overwritten."""
    unfinished = model_file.with_name("unfinished.mindir")
    model_file.parent.mkdir(parents=True, exist_ok=True)
    unfinished.unlink(missing_ok=True)
    ms.export(network, *inputs, file_name=str(unfinished), file_format="MINDIR")
    unfinished.chmod(0o644)
    unfinished.replace(model_file)


def run_ranks():
    """Run this script once per rank, and once as the scheduler through which the ranks find each other."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "MS_WORKER_NUM": str(RANKS),
        "MS_SCHED_HOST": "127.0.0.1",
        "MS_SCHED_PORT": str(port),
        "MS_WORKER_IP": "127.0.0.1",
        "MS_TOPO_TIMEOUT": "60",
        "GLOG_v": "3",
    }
    roles = [{"MS_ROLE": "MS_WORKER", "MS_NODE_ID": str(rank)} for rank in range(RANKS)]
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


def main():
    run_ranks()
    for file in sorted(MODELS.glob("*/*.mindir")):
        print(f"Exported {file}")


if __name__ == "__main__":
    if "MS_ROLE" in os.environ:
        export_part()
        os._exit(0)  # MindSpore's clean-up crashes now and then where ranks end at different times
    else:
        main()
