"""What a user sets for a servable is used in the worker process."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.channel.call_page import TRACEBACK_SIGNAL, CallPage
from mindspore_serving.server.channel.memory import SharedMemory
from mindspore_serving.server.channel.worker_plan import WorkerPlan, WorkerStart, read_start, start_file
from mindspore_serving.server.host.key_pipe import open_key_pipe
from mindspore_serving.server.register.context import Context
from mindspore_serving.server.register.definition import ModelDeclaration
from mindspore_serving.server.worker.process import Worker, start_of_process
from mindspore_serving.server.worker.servable_loader import load_request, load_servable
from tests.support.options import OPTIONS, other_value, other_values
from tests.support.plans import worker_plan

MODEL = ModelDeclaration("m.mindir", ("m.mindir",), "mindir", True, (), Context(), None, 1)
SERVABLE = """
from mindspore_serving.server import register

model = register.declare_model("tensor_add@ms_cpu", "MindIR", with_batch_dim=False)


@register.register_method(output_names=["y"])
def add(x1, x2):
    return register.add_stage(model, x1, x2, outputs_count=1)
"""


def plan() -> WorkerPlan:
    """All options with other values than their defaults."""
    values = {"name" if name == "servable_name" else name: value for name, value in other_values().items()}
    return worker_plan(**values, device_id=7)


@pytest.fixture
def start() -> Iterator[WorkerStart]:
    """What a worker is told, with all that it inherits."""
    earlier = signal.getsignal(TRACEBACK_SIGNAL)
    given = plan()
    key = given.settings.dec_key
    assert key is not None
    ours, channel = socket.socketpair()
    memory, calls = SharedMemory.create(given.slots), CallPage.create()
    fds = [os.dup(fd) for fd in (channel.fileno(), memory.fd, calls.fd)]
    told = WorkerStart(given, 3, os.getppid(), 10.0, *fds, open_key_pipe(key))
    with ours, channel:
        yield read_start(start_file(told))
    memory.close()
    calls.close()
    signal.signal(TRACEBACK_SIGNAL, earlier)


def test_the_worker_has_each_option_and_its_key(start: WorkerStart) -> None:
    worker = Worker(start)
    assert {name: getattr(worker.plan.settings, name) for name in OPTIONS} == other_values()
    assert worker._watch is not None
    assert worker._watch._reason == "ran for longer than stage_timeout_ms 2.5"


def test_what_a_worker_is_told_comes_from_its_descriptor(
    start: WorkerStart, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = ["--servable_name=shown", "--parent=1", "--device_ids_empty"]
    monkeypatch.setattr(sys, "argv", ["start_worker.py", *shown, f"--start_fd={start_file(start)}"])
    told = start_of_process("start_worker.py")
    assert (told.plan.servable_name, told.parent, told.plan.has_device) == ("add", os.getppid(), True)
    assert told.number == start.number


def test_a_worker_that_is_told_nothing_usable_ends_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = os.memfd_create("told")
    monkeypatch.setattr(sys, "argv", ["start_worker.py", f"--start_fd={told}"])
    with pytest.raises(SystemExit):
        start_of_process("start_worker.py")
    assert "start_worker.py: error: a WorkerStart is no JSON document: " in capsys.readouterr().err


@pytest.mark.parametrize("name", ["device_type", "dec_key", "dec_mode"])
def test_a_backend_is_asked_with_it(name: str) -> None:
    request = load_request(plan(), Path("m.mindir"), MODEL)
    assert getattr(request, name) == other_value(name)
    assert request.device_id == 7


def test_the_servable_is_loaded_from_its_folder_version_and_for_its_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVING_BACKEND", "stub")
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = "servable_of_settings"
    (tmp_path / name / "3").mkdir(parents=True)
    (tmp_path / name / "servable_config.py").write_text(SERVABLE)
    (tmp_path / name / "3" / "tensor_add@ms_cpu").touch()
    right = worker_plan(name, servable_directory=str(tmp_path), version_number=3)
    servable = load_servable(right)
    assert [method.name for method in servable.methods] == ["add"]
    assert (servable.definition.name, servable.definition.directory) == (name, str(tmp_path / name))
    assert str(tmp_path) in sys.path
    for option, wrong in (("version_number", 2), ("device_type", "gpu")):
        settings = replace(right.settings, **{option: wrong})
        with pytest.raises(StartUpError):
            load_servable(replace(right, settings=settings))
