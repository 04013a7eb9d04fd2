"""The servables of the soak test, and the start script that serves them, as a user writes them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.serving import REPOSITORY, add_servable

MAX_ENQUEUED_REQUESTS = 500
MAX_ENQUEUED_OF_PLAIN = 100
WORKER_TIMEOUT_S = 3.0
READY_LINE = "both front ends listen"
POISON_TEXT = "2 workers were lost while they served this instance"
"""What an instance is answered that ends every worker it meets."""
STAGE_TIMEOUT_MS = 500
API_KEY = "the-key-of-all-good-clients"
LATE_TEXT = f"ran for longer than stage_timeout_ms {STAGE_TIMEOUT_MS}"
"""What an instance is answered over which a call does not end."""

PLAIN = """\
import sys
import time

import numpy as np

from mindspore_serving.server import register


def same(x):
    return x


def double_and_one(x):
    return x * 2 + 1


def double_and_one_batch(instances):
    for (x,) in instances:
        yield x * 2 + 1


memory = {}


def filled(x):
    y = np.asarray(x * 2 + 1)
    buffer = memory.setdefault(y.dtype, np.empty((), y.dtype))
    np.copyto(buffer, y)
    return buffer


def filled_batch(instances):
    for (x,) in instances:
        yield filled(x)


def refuse_marked(x):
    if x < 0:
        if x % 2:
            raise ValueError(f"marked {x}")
        sys.exit(f"marked {x}")
    return x * 2 + 1


def refuse_marked_batch(instances):
    for (x,) in instances:
        yield refuse_marked(x)


def take_time(x):
    time.sleep(0.02)
    return x * 2 + 1


def method(name, function, batch_size=None):
    def one_stage(x):
        return register.add_stage(function, x, outputs_count=1, batch_size=batch_size)

    one_stage.__name__ = name
    register.register_method(output_names=["y"])(one_stage)


method("identity", same)
method("affine", double_and_one)
method("affine_batch", double_and_one_batch, batch_size=16)
method("reused", filled)
method("reused_batch", filled_batch, batch_size=16)
method("picky", refuse_marked)
method("picky_batch", refuse_marked_batch, batch_size=16)
method("slow", take_time)


NUMBER = register.TensorSpec("int64", [])


def rows_method(name, function, batch_size=None):
    def one_stage(x):
        return register.add_stage(function, x, outputs_count=1, batch_size=batch_size)

    one_stage.__name__ = name
    register.register_method(output_names=["y"], inputs={"x": NUMBER}, outputs={"y": NUMBER})(one_stage)


rows_method("rows", double_and_one_batch, batch_size=16)
rows_method("rows_picky", refuse_marked)


@register.register_method(output_names=["y"])
def echo(x):
    return x
"""

STEPS = """\
import numpy as np

from mindspore_serving.server import register

model = register.declare_model("tensor_add.mindir", "MindIR", with_batch_dim=True)


def parse(text):
    token, a, b = text.split()
    return np.array([float(a), float(b)], np.float32), token


def show(instances):
    return [f"{token} {y[0]:.0f} {y[1]:.0f}" for y, token in instances]


def call_twice(x1, x2):
    return model.call(model.call(x1, x2), x2)


@register.register_method(output_names=["y"])
def add(x1, x2):
    return register.add_stage(model, x1, x2, outputs_count=1)


@register.register_method(output_names=["y"])
def add_twice(x1, x2):
    return register.add_stage(call_twice, x1, x2, outputs_count=1)


@register.register_method(output_names=["sum", "text"])
def three_stages(text, x2):
    x1, token = register.add_stage(parse, text, outputs_count=2)
    y = register.add_stage(model, x1, x2, outputs_count=1)
    return y, register.add_stage(show, y, token, outputs_count=1, batch_size=8)


run_add = register.PipelineServable(servable_name="steps", method="add")


@register.register_pipeline(output_names=["y"])
def add_three_times(x1, x2):
    for _ in range(3):
        x1 = run_add.run(x1, x2)
    return x1
"""

DEADLY = """\
import os
import signal

from mindspore_serving.server import register


def end_if_marked(x):
    if x < 0:
        if x % 2:
            os._exit(7)
        os.kill(os.getpid(), signal.SIGSEGV)
    return x * 2 + 1


def end_if_marked_batch(instances):
    return [end_if_marked(x) for (x,) in instances]


@register.register_method(output_names=["y"])
def die(x):
    return register.add_stage(end_if_marked, x, outputs_count=1)


@register.register_method(output_names=["y"])
def die_batch(x):
    return register.add_stage(end_if_marked_batch, x, outputs_count=1, batch_size=16)
"""

ENDLESS = """\
import time

from mindspore_serving.server import register


def wait_if_marked(x):
    while x < 0:
        if x % 2:
            time.sleep(1)
    return x * 2 + 1


def wait_if_marked_batch(instances):
    return [wait_if_marked(x) for (x,) in instances]


@register.register_method(output_names=["y"])
def wait(x):
    return register.add_stage(wait_if_marked, x, outputs_count=1)


@register.register_method(output_names=["y"])
def wait_batch(x):
    return register.add_stage(wait_if_marked_batch, x, outputs_count=1, batch_size=16)
"""

_START = """\
import resource

from mindspore_serving import server

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # workers end by SIGSEGV on purpose
server.master.context.set_max_enqueued_requests({most_requests})
server.start_servables([
    server.ServableStartConfig(".", "plain", device_ids=0, max_enqueued_requests={most_of_plain}),
    server.ServableStartConfig(".", "copies", device_ids=(1, 2, 3)),
    server.ServableStartConfig(".", "steps", device_ids=4, num_parallel_workers=2),
    server.ServableStartConfig(".", "deadly", device_ids=(5, 6)),
    server.ServableStartConfig(".", "endless", device_ids=(7, 8), stage_timeout_ms={stage_timeout_ms}),
])
server.start_grpc_server({grpc!r}, api_keys=[{key!r}])
server.start_restful_server({rest!r}, api_keys=[{key!r}])
print("{ready}", flush=True)
"""

_EXPORT = Path(__file__).with_name("export_model.py")
_EXPORT_TIMEOUT_S = 300


@dataclass(frozen=True)
class Servable:
    """One servable of the test.

    Attributes:
        name: Its name.
        owners: Workers that own a device.
        workers: All its workers.
    """

    name: str
    owners: int
    workers: int

    @property
    def may_be_away(self) -> bool:
        """Whether new requests may find no worker for a while, because the only one is being started again."""
        return self.owners == 1


SERVABLES = {
    servable.name: servable
    for servable in (
        Servable("plain", 1, 1),
        Servable("copies", 3, 3),
        Servable("steps", 1, 2),
        Servable("deadly", 2, 2),
        Servable("endless", 2, 2),
    )
}


def write_servables(folder: Path, backend: str) -> None:
    """Write all servables below a folder, with the model: an empty file for the stub, else exported.

    Raises:
        RuntimeError: The model cannot be exported.
    """
    add_servable(folder, "plain", PLAIN, ())
    add_servable(folder, "copies", PLAIN, ())
    add_servable(folder, "steps", STEPS)
    add_servable(folder, "deadly", DEADLY, ())
    add_servable(folder, "endless", ENDLESS, ())
    if backend == "mindspore":
        model = folder / "steps" / "1" / "tensor_add.mindir"
        model.unlink()
        done = subprocess.run(
            [sys.executable, str(_EXPORT), str(model)],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_EXPORT_TIMEOUT_S,
        )
        if done.returncode or not model.is_file():
            raise RuntimeError(f"the model cannot be exported, exit status {done.returncode}:\n{done.stderr}")


def write_start_script(folder: Path, grpc: str, rest: str) -> Path:
    """Write the start script; returns its path."""
    script = folder / "start_server.py"
    script.write_text(
        _START.format(
            most_requests=MAX_ENQUEUED_REQUESTS,
            most_of_plain=MAX_ENQUEUED_OF_PLAIN,
            stage_timeout_ms=STAGE_TIMEOUT_MS,
            grpc=grpc,
            rest=rest,
            key=API_KEY,
            ready=READY_LINE,
        )
    )
    return script


def environment(backend: str, grpc_library: str) -> dict[str, str]:
    """Variables that the start script needs besides those that are there."""
    return {
        "SERVING_BACKEND": backend,
        "SERVING_GRPC": grpc_library,
        "SERVING_WORKER_TIMEOUT_S": f"{WORKER_TIMEOUT_S:g}",
        "SERVING_MEMORY_IDLE_S": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": str(REPOSITORY),
    }
