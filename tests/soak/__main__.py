"""Loads a real server for some minutes while its workers end and clients misbehave, and checks every reply.

Exit code 0: no request was lost, no reply was wrong, and the server came to rest as it had started; README.md in this
folder says what is looked at. The summary, as text and as JSON, the log of the main process and those of the workers
are left in the folder of `--output`.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.soak.run import Plan, soak
from tests.support.serving import REPOSITORY

_RESULTS = REPOSITORY / "tests" / "soak" / "results"
_ENDED_BY_SIGTERM = 128 + signal.SIGTERM


def main() -> int:
    """Run, print, write; returns the exit code."""
    arguments = _parse_arguments()
    output = Path(arguments.output or _RESULTS / time.strftime("%Y%m%d-%H%M%S")).resolve()
    output.mkdir(parents=True, exist_ok=True)
    plan = Plan(
        60 * arguments.minutes,
        arguments.seed,
        arguments.clients,
        arguments.processes,
        arguments.backend,
        arguments.grpc,
    )
    print(f"Soak test: {plan}; results go to {output}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_ENDED_BY_SIGTERM))  # the server is ended, too
    with tempfile.TemporaryDirectory(prefix="soak_") as folder:
        try:
            summary = asyncio.run(soak(plan, Path(folder)))
        finally:
            _keep_logs(Path(folder), output)
    summary.write(output / "summary.json")
    (output / "summary.txt").write_text(summary.text() + "\n")
    print(f"\n{summary.text()}\nWritten: {output}", flush=True)
    return 1 if summary.faults() else 0


def _keep_logs(folder: Path, output: Path) -> None:
    for log in (*folder.glob("*.log"), *folder.glob("serving_logs/*.log")):
        shutil.copy(log, output / log.name)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("minutes", type=_positive, help="how long there is load")
    parser.add_argument(
        "--seed", type=int, default=random.randrange(1 << 31), help="of all choices; default: random"
    )
    parser.add_argument("--clients", type=int, default=32, help="in all processes together; default 32")
    parser.add_argument("--processes", type=int, default=2, help="processes of clients; default 2")
    parser.add_argument("--output", help="folder of the results; default: a new one in tests/soak/results")
    installed = importlib.util.find_spec("mindspore") is not None
    parser.add_argument(
        "--backend",
        choices=("stub", "mindspore"),
        default="mindspore" if installed else "stub",
        help="what runs the model; default: mindspore where it is installed, else stub",
    )
    parser.add_argument(
        "--grpc",
        choices=("core", "aio"),
        default="core",
        help="what gRPC is served by: the C core of grpcio or grpc.aio; default core",
    )
    arguments = parser.parse_args()
    if not 1 <= arguments.processes <= arguments.clients:
        parser.error(
            f"--processes should be between 1 and --clients {arguments.clients}, but got {arguments.processes}"
        )
    return arguments


def _positive(text: str) -> float:
    minutes = float(text)
    if not 0 < minutes < float("inf"):
        raise argparse.ArgumentTypeError(f"a number of minutes above 0 was expected, got {text!r}")
    return minutes


if __name__ == "__main__":
    sys.exit(main())
