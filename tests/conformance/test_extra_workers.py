"""Section 5.5: worker processes beyond the devices."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindspore_serving.client import Client
from tests.conformance.departures import without_advice
from tests.conformance.row import row, stands_for
from tests.conformance.scripts import outcomes
from tests.support.serving import RunningServer, add_servable, serving
from tests.support.watch import kill, wait_until

SQUARE = np.array([[1, 2], [3, 4]], np.float32)
ROW = SQUARE[0]
ONES = np.ones((2, 2), np.float32)
WIDE = np.ones((3, 2), np.float32)
COST = "WorkerRequestHandle Time Cost # "

MIXED = """\
import os
import time

import numpy as np

from mindspore_serving.server import register

add = register.declare_model("tensor_add.mindir", "MindIR", with_batch_dim=False)
graphs = register.declare_model(["tensor_add_2_1.mindir", "tensor_sub_2_1.mindir"], "MindIR")


def plus_one(x):
    time.sleep(0.002)  # so that all workers get some
    return x + 1


def device_of(x):
    time.sleep(0.002)
    return os.environ.get("SERVING_DEVICE_ID", "none")


def call_add(x1, x2):
    return add.call(x1, x2)


def call_many(instances):
    for (y,) in graphs.call([list(instance) for instance in instances], subgraph=1):
        yield y


def call_wide(x):
    try:
        return str(add.call(np.ones((3, 2), np.float32), x))
    except RuntimeError as error:
        return str(error)


@register.register_method(output_names=["y"])
def around(x1, x2):
    x1 = register.add_stage(plus_one, x1, outputs_count=1)
    y = register.add_stage(add, x1, x2, outputs_count=1)
    return register.add_stage(plus_one, y, outputs_count=1)


@register.register_method(output_names=["y"])
def calls(x1, x2):
    return register.add_stage(call_add, x1, x2, outputs_count=1)


@register.register_method(output_names=["y"])
def calls_batch(x1, x2):
    return register.add_stage(call_many, x1, x2, outputs_count=1, batch_size=8)


@register.register_method(output_names=["text"])
def call_fails(x):
    return register.add_stage(call_wide, x, outputs_count=1)


@register.register_method(output_names=["y"])
def only_model(x1, x2):
    return register.add_stage(add, x1, x2, outputs_count=1)


@register.register_method(output_names=["device"])
def device(x):
    return register.add_stage(device_of, x, outputs_count=1)
"""
MODEL_ONLY = """\
from mindspore_serving.server import register

add = register.declare_model("tensor_add.mindir", "MindIR", with_batch_dim=False)


@register.register_method(output_names=["y"])
def add_common(x1, x2):
    return register.add_stage(add, x1, x2, outputs_count=1)
"""
PLAIN = """\
import os
import time

from mindspore_serving.server import register


def who(x):
    time.sleep(0.002)
    return os.getpid()


@register.register_method(output_names=["pid"])
def pid(x):
    return register.add_stage(who, x, outputs_count=1)
"""
FILES = ["1/tensor_add.mindir", "1/tensor_add_2_1.mindir", "1/tensor_sub_2_1.mindir"]


@pytest.fixture(scope="module")
def extra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """`mixed` on 2 devices and 2 extra workers, `model_only` that needs none, `plain` on 3 extra workers."""
    folder = tmp_path_factory.mktemp("extra")
    add_servable(folder, "mixed", MIXED, FILES)
    add_servable(folder, "model_only", MODEL_ONLY)
    add_servable(folder, "plain", PLAIN, ())
    configs = [
        '".", "mixed", device_ids=(0, 1), num_parallel_workers=4',
        '".", "model_only", device_ids=2, num_parallel_workers=2',
        '".", "plain", num_parallel_workers=3',
    ]
    with serving(folder, configs, environment={"GLOG_v": "1"}) as running:
        yield running


def infer(server: RunningServer, target: str, *instances: dict[str, Any]) -> Any:
    servable, method = target.split(":")
    with Client(server.grpc, servable, method) as client:
        return without_advice(client.infer(list(instances)))


def same(got: Any, expected: Any) -> bool:
    return got.dtype == expected.dtype and got.shape == expected.shape and bool((got == expected).all())


def command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


LOGS = [
    "log_mixed_device0_version1.log",
    "log_mixed_device1_version1.log",
    "log_mixed_extra0_version1.log",
    "log_mixed_extra1_version1.log",
    "log_model_only_device2_version1.log",
    "log_plain_extra0_version1.log",
    "log_plain_extra1_version1.log",
    "log_plain_extra2_version1.log",
]


@stands_for("5.5-extra-count+5.5-extra-log-files")
def test_log_of_each_worker(extra: RunningServer) -> None:
    assert sorted(path.name for path in (extra.folder / "serving_logs").iterdir()) == LOGS
    assert len(extra.workers()) == len(LOGS)


@stands_for("5.5-extra-process-names")
def test_names_of_processes(extra: RunningServer) -> None:
    commands = [command(pid) for pid in extra.workers()]
    assert sorted(line.split()[0].rpartition("/")[2] for line in commands) == (
        ["start_extra_worker.py"] * 5 + ["start_worker.py"] * 3
    )
    for line in commands:
        for part in ("--servable_directory=", "--servable_name=", "--version_number=", "--device_type="):
            assert part in line, line
        assert "--device_id=" in line or "--index=" in line, line


@stands_for("5.5-extra-skipped")
def test_none_where_all_stages_are_models(extra: RunningServer) -> None:
    text = (
        "There is no need to startup additional worker processes, all stages are models, servable: model_only"
    )
    [line] = [line for line in extra.lines if "no need to startup" in line]
    assert line.startswith("[WARNING] SERVING(")
    assert line.endswith(f"] {text}")


@pytest.mark.parametrize(
    ("target", "scale", "expected"),
    [
        row("5.5-extra-model-stage", "mixed:around", SQUARE, lambda i: SQUARE * i + ONES + 2),
        row("5.5-extra-Model.call", "mixed:calls", SQUARE, lambda i: SQUARE * i + ONES),
        row("5.5-extra-Model.call-subgraph", "mixed:calls_batch", ROW, lambda i: ROW * i - ONES[0]),
        row("5.5-extra-model-only-method", "mixed:only_model", SQUARE, lambda i: SQUARE * i + ONES),
    ],
)
def test_results(extra: RunningServer, target: str, scale: Any, expected: Any) -> None:
    second = np.ones_like(scale)
    for _ in range(3):
        replies = infer(extra, target, *({"x1": scale * i, "x2": second} for i in range(20)))
        assert len(replies) == 20
        assert all(same(reply["y"], expected(i)) for i, reply in enumerate(replies))


@stands_for("5.5-extra-Model.call-error")
def test_a_failed_call(extra: RunningServer) -> None:
    text = "Model(tensor_add.mindir).call() failed: Given model input 0 size 24 not match the size 16 defined in model"
    assert infer(extra, "mixed:call_fails", *[{"x": SQUARE}] * 20) == [{"text": text}] * 20


@stands_for("5.5-extra-model-error")
def test_a_failed_model_stage(extra: RunningServer) -> None:
    text = "Given model input 0 size 24 not match the size 16 defined in model"
    replies = infer(extra, "mixed:around", *[{"x1": SQUARE, "x2": ONES}, {"x1": WIDE, "x2": ONES}] * 10)
    for good, bad in zip(replies[::2], replies[1::2], strict=True):
        assert same(good["y"], SQUARE + 3)
        assert bad == {"error": text}


@stands_for("5.5-extra-SERVING_DEVICE_ID")
def test_extra_workers_have_no_device(extra: RunningServer) -> None:
    wait_until(
        lambda: {r["device"] for r in infer(extra, "mixed:device", *[{"x": "x"}] * 40)} == {"0", "1", "none"},
        "all kinds of workers have answered",
    )


@stands_for("5.5-extra-all-work+11.3-test_python_parallel")
def test_every_worker_takes_part(extra: RunningServer) -> None:
    logs = {name: extra.folder / "serving_logs" / name for name in LOGS if "model_only" not in name}

    def all_have_worked() -> bool:
        infer(extra, "mixed:around", *({"x1": SQUARE, "x2": ONES} for _ in range(20)))
        infer(extra, "plain:pid", *({"x": "x"} for _ in range(20)))
        return all(COST in log.read_text() for log in logs.values())

    wait_until(all_have_worked, "a message in every log")
    pattern = re.compile(rf"\[INFO\] SERVING\(.*\] Method \S+ {re.escape(COST)}[\d.]+ ms")
    for log in logs.values():
        lines = [line for line in log.read_text().splitlines() if COST in line]
        assert all(pattern.fullmatch(line) for line in lines), lines[0]


@stands_for("5.5-extra-no-model-only-methods")
def test_methods_of_models_alone_go_to_devices(extra: RunningServer) -> None:
    infer(extra, "mixed:only_model", *({"x1": SQUARE, "x2": ONES} for _ in range(40)))
    for name in LOGS:
        if name.startswith("log_mixed_extra"):
            assert f"Method only_model {COST}" not in (extra.folder / "serving_logs" / name).read_text()


@pytest.mark.parametrize(
    "method",
    [
        row("5.5-call_methods", "@call_tensor_add.mindir_0"),
        row("5.5-call_methods-subgraph", "@call_tensor_add_2_1.mindir;tensor_sub_2_1.mindir_1"),
    ],
)
def test_internal_methods_are_hidden(extra: RunningServer, method: str) -> None:
    assert infer(extra, f"mixed:{method}", {"x0": SQUARE, "x1": ONES}) == {
        "error": f"Request servable(mixed) method({method}) , method is not available"
    }


@stands_for("5.5-extra-restart")
def test_a_killed_extra_worker_is_replaced(extra: RunningServer) -> None:
    pids = {int(r["pid"]) for r in infer(extra, "plain:pid", *({"x": "x"} for _ in range(40)))}
    victim = pids.pop()
    kill(victim)

    def replaced() -> bool:
        now = {int(r["pid"]) for r in infer(extra, "plain:pid", *({"x": "x"} for _ in range(40)))}
        return victim not in now and len(now) == 3

    wait_until(replaced, "three workers answer again")


EXTRA_FAILS = (
    PLAIN + 'import os\nif "SERVING_DEVICE_ID" not in os.environ:\n    raise ValueError("no device")\n'
)


@stands_for("5.5-extra-start-failure")
def test_an_extra_worker_that_cannot_start(tmp_path: Path) -> None:
    add_servable(tmp_path, "plain", EXTRA_FAILS, ())
    call = 'server.start_servables(server.ServableStartConfig(".", "plain", device_ids=0, num_parallel_workers=2))'
    found = outcomes(tmp_path, "from mindspore_serving import server", {"call": call})
    line = len(EXTRA_FAILS.splitlines())
    assert found == {
        "call": (
            "RuntimeError",
            "Fail to start workers: {servable:plain, version:1, extra:0, <import plain.servable_config failed, "
            f"no device (at {tmp_path}/plain/servable_config.py:{line})>}}, more in "
            f"{tmp_path}/serving_logs/log_plain_extra0_version1.log",
        )
    }


@stands_for("5.5-exit-without-devices")
def test_the_server_ends_when_no_worker_with_a_device_is_left(tmp_path: Path) -> None:
    add_servable(tmp_path, "mixed", MIXED, FILES)
    config = '".", "mixed", device_ids=0, num_parallel_workers=2'
    with serving(tmp_path, [config], environment={"GLOG_v": "1"}) as running:
        infer(running, "mixed:around", {"x1": SQUARE, "x2": ONES})
        [device] = [pid for pid in running.workers() if "start_worker.py" in command(pid)]
        os.kill(device, signal.SIGTERM)
        running.wait()
        assert running.process.poll() is not None
        assert any(
            line.endswith(
                "] Serving server begin to exit: all worker processes that occupy devices have exited"
            )
            for line in running.lines
        ), running.output
