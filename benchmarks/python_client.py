"""What a call of the Python client costs its own process, beside the same call by the stub that gRPC generates.

One process calls one server in several ways in turn; `python_client_process.py` has the ways. All replies are compared.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.asked_process import AskedProcess
from benchmarks.rows import rounded, spread_of
from benchmarks.servers import free_port, running_start_script

_INSTANCES = (1, 32)
_SERVABLE = """\
from mindspore_serving.server import register


def first(x1, x2):
    return x1


@register.register_method(output_names=["y"])
def identity(x1, x2):
    return register.add_stage(first, x1, x2, outputs_count=1)
"""
_START = """\
from mindspore_serving import server

server.start_servables(server.ServableStartConfig(".", "called", num_parallel_workers=1))
server.start_grpc_server("127.0.0.1:{port}")
print("started", flush=True)
"""


def measure_python_client(folder: Path, turns: int, seconds: float) -> list[dict[str, Any]]:
    """Measure requests of 1 and of 32 small instances; prints and returns the rows.

    Args:
        folder: An empty folder to work in.
        turns: Turns per row.
        seconds: Length of a turn of each way.
    """
    (folder / "called").mkdir()
    (folder / "called" / "servable_config.py").write_text(_SERVABLE)
    port = free_port()
    with running_start_script(folder, _START.format(port=port)):
        process = AskedProcess("benchmarks.python_client_process", f"127.0.0.1:{port}", "called", "identity")
        try:
            return [_row(process, instances, turns, seconds) for instances in _INSTANCES]
        finally:
            process.stop()


def _row(process: AskedProcess, instances: int, turns: int, seconds: float) -> dict[str, Any]:
    seen = [process.ask(instances=instances, seconds=3 * seconds) for _ in range(turns)]
    row = python_client_row(instances, seen)
    client, cpu_us = row["client_over_stub"], row["cpu_us"]
    print(
        f"{row['row']:36} CPU {cpu_us['client']:.0f} us = {client['median']:.2f} x the stub's {cpu_us['stub']:.0f} us "
        f"({client['min']:.2f}-{client['max']:.2f}) = {row['client_over_bytes']['median']:.2f} x that of ready bytes"
        + (f"  {row['wrong']} WRONG" if row["wrong"] else ""),
        flush=True,
    )
    return row


def python_client_row(instances: int, turns: list[dict[str, Any]]) -> dict[str, Any]:
    """The row of several turns; each ratio is taken within a turn.

    Args:
        instances: In each request.
        turns: Answers of the process.
    """

    def ratio(one: str, other: str) -> dict[str, float]:
        return spread_of(turn["cpu_us"][one] / turn["cpu_us"][other] for turn in turns)

    return {
        "row": f"Python client, {instances} instance{'s' if instances > 1 else ''}",
        "cpu_us": {
            way: rounded(spread_of(turn["cpu_us"][way] for turn in turns)["median"])
            for way in ("client", "stub", "bytes")
        },
        "client_over_stub": ratio("client", "stub"),
        "client_over_bytes": ratio("client", "bytes"),
        "stub_over_bytes": ratio("stub", "bytes"),
        "checked": sum(turn["checked"] for turn in turns),
        "wrong": sum(turn["wrong"] for turn in turns),
    }
