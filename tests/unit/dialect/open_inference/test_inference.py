"""The core of the dialect, with outcomes of the test."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindspore_serving.errors import (
    DeadlineExceeded,
    Failure,
    InvalidInput,
    NotOffered,
    NotPermitted,
    QueueFull,
    ServableUnavailable,
    ServingError,
    StageError,
    StatusCode,
    UnknownTarget,
)
from mindspore_serving.rows import FailedRows, Reply, Rows
from mindspore_serving.server.dialect.open_inference.inference import Inference
from mindspore_serving.server.dialect.open_inference.messages import (
    InferReply,
    InferRequest,
    InputTensor,
    RequestedOutput,
)
from mindspore_serving.server.dialect.open_inference.outputs import numbers_in
from mindspore_serving.server.dialect.open_inference.shared_memory import MOST_PART_BYTES, SharedMemoryRegions
from mindspore_serving.server.service.failed_rows import RowsFailed
from mindspore_serving.signature import MethodSignature, TensorType
from mindspore_serving.tensor import DataType
from tests.unit.dialect.open_inference.fake_service import FakeDispatcher, Outcome, echo, method, service_of

CALLED = method(outputs=(TensorType("y", DataType.FLOAT32, (2,)),))
ARRAY = np.arange(6, dtype=np.float32).reshape(3, 2)


class Own:
    """A client of this user."""

    def peer_is_own_user(self) -> bool:
        return True


def request(**fields: Any) -> InferRequest:
    tensor = InputTensor("x", "FP32", (3, 2), ARRAY.tobytes())
    return InferRequest(**{"model": "m", "version": "", "id": "", "inputs": [tensor], **fields})


def infer(
    asked: InferRequest, outcome: Outcome = echo, called: MethodSignature = CALLED, **options: Any
) -> tuple[InferReply, FakeDispatcher]:
    service, dispatcher = service_of([called], outcome)

    async def scene() -> InferReply:
        regions = options.pop("regions", SharedMemoryRegions())
        return await Inference(service, regions).infer(asked, **options)

    return asyncio.run(scene()), dispatcher


def refused(
    asked: InferRequest, outcome: Outcome = echo, called: MethodSignature = CALLED, **options: Any
) -> ServingError:
    with pytest.raises(ServingError) as caught:
        infer(asked, outcome, called, **options)
    return caught.value


def test_a_request_is_answered() -> None:
    reply, dispatcher = infer(request(id="7", version="1"))
    assert (reply.model, reply.version, reply.id) == ("m", "1", "7")
    [tensor] = reply.outputs
    assert (tensor.name, tensor.datatype, tensor.shape) == ("y", "FP32", (3, 2))
    np.testing.assert_array_equal(numbers_in(tensor), ARRAY.ravel())
    [(blocks, timeout_s, priority, parameters)] = dispatcher.admitted
    assert ([block.count for block in blocks], timeout_s, priority, parameters) == ([3], None, 0, None)


def test_the_parameters_of_a_request_are_passed_on() -> None:
    asked = request(parameters={"priority": 1, "timeout": 2_000_000, "top_k": 5, "binary_data_output": True})
    _, dispatcher = infer(asked, timeout_s=3.0)
    assert dispatcher.admitted[0][1:] == (2.0, 1, {"top_k": 5})
    _, dispatcher = infer(asked, timeout_s=1.0)
    assert dispatcher.admitted[0][1] == 1.0


def test_a_parameter_says_the_method() -> None:
    service, dispatcher = service_of([method("one"), method("two", outputs=())])

    async def scene() -> InferReply:
        return await Inference(service, SharedMemoryRegions()).infer(request(parameters={"method": "two"}))

    assert asyncio.run(scene()).outputs == []
    assert dispatcher.admitted[0][3] is None


def test_a_request_without_rows_runs_nothing() -> None:
    reply, dispatcher = infer(request(inputs=[InputTensor("x", "FP32", (0, 2), b"")]))
    assert [(tensor.shape, tensor.data) for tensor in reply.outputs] == [((0, 2), b"")]
    assert dispatcher.admitted == []


def test_a_request_that_is_cancelled_is_abandoned() -> None:
    service, dispatcher = service_of([CALLED], lambda blocks: None)

    async def scene() -> None:
        asking = asyncio.ensure_future(Inference(service, SharedMemoryRegions()).infer(request()))
        await dispatcher.submitted.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert dispatcher.futures[0].cancelled()

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (request(model="no"), "There is no model 'no'"),
        (request(outputs=[RequestedOutput("z")]), "Output 'z' is unknown, outputs are y"),
        (request(inputs=[]), "Input 'x' is missing"),
        (request(parameters={"sequence_start": True}), "sequence_start"),
    ],
)
def test_a_request_that_is_wrong_runs_nothing(asked: InferRequest, text: str) -> None:
    def no_outcome(blocks: list[Rows]) -> Reply:
        raise AssertionError("nothing should be run")

    error = refused(asked, no_outcome)
    assert isinstance(error, InvalidInput)
    assert text in str(error)


def test_room_is_asked_for_before_tensors_are_read() -> None:
    service, dispatcher = service_of([CALLED])
    inference = Inference(service, SharedMemoryRegions())
    assert inference.check_room("m", "").method is CALLED
    dispatcher.room = QueueFull("full")
    with pytest.raises(QueueFull):
        inference.check_room("m", "")


# --- Rows that failed ---

BAD = Failure(StatusCode.SYSTEM_ERROR, "bad", trace="a trace")
GONE = ServableUnavailable("gone").failure()
LATE = DeadlineExceeded("late").failure()


def of(*parts: Failure | None) -> Outcome:
    """An outcome with one row for each part, None for one that has a result."""

    def outcome(blocks: list[Rows]) -> Reply:
        [block] = blocks
        return [
            block.take(at, at + 1) if part is None else FailedRows(part, 1) for at, part in enumerate(parts)
        ]

    return outcome


@pytest.mark.parametrize(
    ("parts", "status", "text"),
    [
        ((BAD, BAD, BAD), 500, "bad"),
        ((LATE, LATE, LATE), 504, "late"),
        ((GONE, GONE, GONE), 503, "gone"),
        ((None, BAD, None), 500, "1 of 3 rows failed, the first one is row 1: bad"),
        ((None, None, BAD), 500, "1 of 3 rows failed, the first one is row 2: bad"),
        ((BAD, BAD, None), 500, "2 of 3 rows failed, the first one is row 0: bad"),
        ((BAD, LATE, BAD), 500, "3 of 3 rows failed, the first one is row 0: bad"),
        # 503 says that nothing was done.
        ((GONE, None, None), 500, "1 of 3 rows failed, the first one is row 0: gone"),
        ((GONE, LATE, GONE), 504, "3 of 3 rows failed, the first one is row 0: gone"),
    ],
)
def test_rows_that_failed(parts: Sequence[Failure | None], status: int, text: str) -> None:
    error = refused(request(), of(*parts))
    assert isinstance(error, RowsFailed)
    failure = error.failure()
    assert (failure.status, failure.text) == (status, text)
    assert error.count == 3
    assert [failed.failure for failed in error.failures] == [part for part in parts if part]
    assert failure.trace == next(part for part in parts if part).trace


def test_rows_that_failed_together() -> None:
    error = refused(request(), lambda blocks: [blocks[0].take(0, 1), FailedRows(BAD, 2)])
    assert str(error) == "2 of 3 rows failed, the first one is row 1: bad"


def test_an_instance_that_failed() -> None:
    asked = request(inputs=[InputTensor("x", "FP32", (1, 2), bytes(8))])
    assert str(refused(asked, of(StageError("no good").failure()))) == "no good"


# --- Shared memory ---


@pytest.fixture
def regions(tmp_path: Path) -> SharedMemoryRegions:
    (tmp_path / "in").write_bytes(b"head" + ARRAY.tobytes())
    (tmp_path / "out").write_bytes(bytes(32))
    found = SharedMemoryRegions(allowed=True, folder=tmp_path)
    found.register("in", "/in", 0, 28, Own())
    found.register("out", "/out", 0, 32, Own())
    return found


def shared(region: str, size: Any = 24, offset: Any = 4) -> dict[str, Any]:
    return {
        "shared_memory_region": region,
        "shared_memory_byte_size": size,
        "shared_memory_offset": offset,
    }


def test_inputs_and_outputs_in_shared_memory(regions: SharedMemoryRegions, tmp_path: Path) -> None:
    asked = request(
        inputs=[InputTensor("x", "FP32", (3, 2), None, shared("in"))],
        outputs=[RequestedOutput("y", shared("out", 28))],
    )
    reply, _ = infer(asked, peer=Own(), regions=regions)
    [tensor] = reply.outputs
    assert (tensor.data, tensor.shape, tensor.parameters) == (None, (3, 2), shared("out", 24))
    assert (tmp_path / "out").read_bytes() == bytes(4) + ARRAY.tobytes() + bytes(4)


@pytest.mark.parametrize(
    ("where", "parameters", "text"),
    [
        ("in", shared("in", 23), "Input 'x' has 23 bytes of data, expected 24"),
        ("in", shared("no"), "Unable to find shared memory region: 'no'"),
        ("in", shared("in", 25), "which has 28 bytes"),
        ("in", shared("in", -1), "Input 'x': shared_memory_byte_size should be a whole number from 0 on, but is -1"),
        ("in", shared("in", 24, 1.5), "Input 'x': shared_memory_offset should be a whole number"),
        ("in", shared("in", 1 << 63), "shared_memory_byte_size should be a whole number"),
        ("in", {"shared_memory_region": "in"}, "Input 'x' is in shared memory, but has no parameter shared_memory"),
        ("in", {"shared_memory_region": 3}, "Input 'x': shared_memory_region should be the name of a region, but is 3"),
        ("in", {}, "Input 'x' has no data"),
        ("out", shared("no"), "Unable to find shared memory region: 'no'"),
        ("out", shared("out", 40), "which has 32 bytes"),
        ("out", {"shared_memory_region": "out"}, "Output 'y' is in shared memory, but has no parameter"),
    ],
)  # fmt: skip
def test_shared_memory_that_is_wrong(
    regions: SharedMemoryRegions, where: str, parameters: dict[str, Any], text: str
) -> None:
    def no_outcome(blocks: list[Rows]) -> Reply:
        raise AssertionError("nothing should be run")

    if where == "in":
        asked = request(inputs=[InputTensor("x", "FP32", (3, 2), None, parameters)])
    else:
        asked = request(outputs=[RequestedOutput("y", parameters)])
    assert text in str(refused(asked, no_outcome, regions=regions, peer=Own()))


def test_an_output_that_does_not_fit_its_shared_memory(regions: SharedMemoryRegions) -> None:
    asked = request(outputs=[RequestedOutput("y", shared("out", 23))])
    error = refused(asked, regions=regions, peer=Own())
    assert "An output of 24 bytes does not fit into 23 bytes of shared memory region 'out'" in str(error)


def test_what_a_request_uses_stays_while_it_runs(regions: SharedMemoryRegions, tmp_path: Path) -> None:
    def removed_meanwhile(blocks: list[Rows]) -> Reply:
        regions.unregister("", Own())
        (tmp_path / "in").unlink()
        return echo(blocks)

    asked = request(
        inputs=[InputTensor("x", "FP32", (3, 2), None, shared("in"))],
        outputs=[RequestedOutput("y", shared("out"))],
    )
    infer(asked, removed_meanwhile, peer=Own(), regions=regions)
    assert (tmp_path / "out").read_bytes() == bytes(4) + ARRAY.tobytes() + bytes(4)
    assert isinstance(refused(asked, peer=Own(), regions=regions), UnknownTarget)


def test_the_inputs_of_a_request_in_shared_memory_are_not_too_large(
    regions: SharedMemoryRegions, tmp_path: Path
) -> None:
    os.truncate(tmp_path / "in", MOST_PART_BYTES)
    regions.register("all", "/in", 0, MOST_PART_BYTES, Own())
    called = method(inputs=(TensorType("x"), TensorType("z")))
    asked = request(
        inputs=[
            InputTensor("x", "FP32", (3, 2), None, shared("in")),
            InputTensor("z", "INT8", (MOST_PART_BYTES,), None, shared("all", MOST_PART_BYTES, 0)),
        ]
    )
    error = refused(asked, called=called, peer=Own(), regions=regions)
    assert "in shared memory together, which Input 'z' goes beyond" in str(error)


def test_what_requests_have_read_from_shared_memory_has_a_limit(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(bytes(4) + ARRAY.tobytes())
    regions = SharedMemoryRegions(True, tmp_path, most_read=2 * ARRAY.nbytes - 1)
    regions.register("in", "/in", 0, 4 + ARRAY.nbytes, Own())
    asked = request(inputs=[InputTensor("x", "FP32", (3, 2), None, shared("in"))])
    met = []

    def asked_meanwhile(blocks: list[Rows]) -> Reply:
        with pytest.raises(QueueFull, match="have read from shared memory exceed the limit 47"):
            regions.count_read(ARRAY.nbytes)
        regions.count_read(ARRAY.nbytes - 1)
        regions.forget_read(ARRAY.nbytes - 1)
        met.append(blocks)
        return echo(blocks)

    for _ in range(2):  # what the first one has read is free again
        infer(asked, asked_meanwhile, peer=Own(), regions=regions)
    assert len(met) == 2
    regions.count_read(1 << 40)  # the only one


def test_shared_memory_of_clients_that_may_not_use_it(regions: SharedMemoryRegions) -> None:
    asked = request(inputs=[InputTensor("x", "FP32", (3, 2), None, shared("in"))])
    assert isinstance(refused(asked, regions=regions), NotPermitted)
    regions.allowed = False
    assert isinstance(refused(asked, regions=regions, peer=Own()), NotOffered)
