"""Messages to frames and back, whole, in pieces, through shared memory, and damaged."""

import os
import random
import struct
from collections.abc import Iterator

import numpy as np
import orjson
import pytest

from mindspore_serving.errors import ChannelError, Failure, Outcome, StatusCode
from mindspore_serving.rows import FailedRows, Rows
from mindspore_serving.server.channel.cluster_messages import Challenge, Join, JoinRefused, Welcome
from mindspore_serving.server.channel.columns import INLINE_LIMIT
from mindspore_serving.server.channel.frames import FrameSplitter, Message, frame_of, message_of
from mindspore_serving.server.channel.memory import SharedMemory
from mindspore_serving.server.channel.messages import (
    NO_SLOT,
    Alive,
    Batch,
    Exiting,
    HeldModels,
    MethodCall,
    MethodReply,
    ModelCall,
    ModelReply,
    Register,
    Result,
    StartFailed,
    Stop,
    WantModels,
)
from mindspore_serving.signature import GraphInfo, MethodSignature, ModelInfo, TensorType
from mindspore_serving.tensor import NUMPY_OF, DataType, TensorSpec
from tests.support.channel import ANY, decoded
from tests.support.rows import numbered, numbers_in, rows_of, texts

METHODS = (
    MethodSignature(
        "m",
        ("x", "y"),
        64,
        32,
        only_models=True,
        output_names=("z", "ü"),
        inputs=(TensorType("x"), TensorType("y", DataType.FLOAT16, (2, -1), shared=True)),
        outputs=(TensorType("z", DataType.BYTES, (), "image", declared=True, description="ü"),),
        rows=True,
        description="what it does",
        takes_parameters=True,
        examples=('{"x": 1}',),
        steps=("one", "two ü"),
    ),
    MethodSignature("e", (), 1, waits=True),
)
GRAPH = GraphInfo(
    inputs=(TensorSpec("x", DataType.FLOAT32, (2, 3)), TensorSpec("n", DataType.INT64, ())),
    outputs=(TensorSpec("y", DataType.BOOL, (-1, 4)),),
    batch_size=32,
    dynamic=True,
)
MODELS = (ModelInfo("a.mindir;b.mindir", (GRAPH, GRAPH)), ModelInfo("c.mindir", (GRAPH,)))

CONTROL = [
    Register(3, 4711, METHODS, MODELS),
    StartFailed(0, "no such file 'ü'"),
    WantModels(2),
    HeldModels(MODELS),
    HeldModels(()),
    Alive(),
    Exiting(),
    Stop(),
    Challenge("0a" * 32),
    Join("1b" * 32, "2c" * 32, "10.0.0.7:6200", "4e" * 32, 17, "add", 3, METHODS),
    Welcome("3d" * 32),
    JoinRefused("the tokens differ"),
    JoinRefused("not now", final=False),
]


@pytest.fixture
def memory() -> Iterator[SharedMemory]:
    memory = SharedMemory.create(2)
    yield memory
    memory.close()


def assert_equal_rows(got: Rows, expected: Rows) -> None:
    assert got.specs == expected.specs
    assert got.count == expected.count
    for one, other in zip(got.columns, expected.columns, strict=True):
        if isinstance(other, list):
            assert one == other
        else:
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("message", CONTROL, ids=lambda message: type(message).__name__)
def test_control_messages(message: Message) -> None:
    assert decoded(frame_of(message)) == message


@pytest.mark.parametrize("dtype", list(NUMPY_OF), ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3)])
def test_every_data_type(dtype: DataType, shape: tuple[int, ...]) -> None:
    column = np.arange(5 * int(np.prod(shape))).reshape(5, *shape).astype(NUMPY_OF[dtype])
    rows = Rows((TensorSpec("x", dtype, shape),), (column,), 5)
    batch = decoded(frame_of(Batch(7, 1, "m", (rows,))))
    assert isinstance(batch, Batch)
    assert (batch.batch_id, batch.slot, batch.method, batch.count) == (7, 1, "m", 5)
    assert_equal_rows(batch.groups[0], rows)


def test_text_and_bytes() -> None:
    rows = texts(["", "hé", "x" * 1000])
    batch = decoded(frame_of(Batch(0, 0, "m", (rows,))))
    assert isinstance(batch, Batch)
    assert_equal_rows(batch.groups[0], rows)


def test_a_method_without_inputs() -> None:
    batch = decoded(frame_of(Batch(0, 0, "m", (Rows((), (), 4),))))
    assert isinstance(batch, Batch)
    assert batch.count == 4


def test_neighbours_with_equal_specs_arrive_as_one_group() -> None:
    groups = (numbered(2), numbered(3, 10), rows_of(x=np.zeros((1, 2), np.float32)), numbered(1, 20))
    batch = decoded(frame_of(Batch(0, 0, "m", groups)))
    assert isinstance(batch, Batch)
    assert [group.count for group in batch.groups] == [5, 1, 1]
    assert numbers_in(batch.groups[:1]) == [0, 1, 10, 11, 12]


def test_results_with_failures() -> None:
    failed = FailedRows(Failure(StatusCode.SYSTEM_ERROR, "boom ü", 500), 2)
    traced = FailedRows(Failure(StatusCode.FAILED, "boom", trace="in f"), 1)
    result = decoded(frame_of(Result(9, 1, 4, (numbered(1), failed, numbered(2), traced), True)))
    assert isinstance(result, Result)
    assert (result.batch_id, result.slot, result.start, result.final) == (9, 1, 4, True)
    assert result.groups[1] == failed
    assert [group.count for group in result.groups] == [1, 2, 2, 1]
    traces = [group.failure.trace for group in result.groups if isinstance(group, FailedRows)]
    assert traces == ["", "in f"]


@pytest.mark.parametrize("cause", [None, *(one for one in Outcome if one is not Outcome.OK)])
@pytest.mark.parametrize("trace", ["", "in f"])
def test_what_a_failure_counts_as_crosses(cause: Outcome | None, trace: str) -> None:
    failed = FailedRows(Failure(StatusCode.SYSTEM_ERROR, "no", trace=trace, cause=cause), 1)
    [group] = decoded(frame_of(Result(0, 0, 0, (failed,), True))).groups
    assert (group.failure.cause, group.failure.trace) == (cause, trace)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 63, 64, 4096])
def test_times_of_steps_cross(count: int) -> None:
    steps = tuple(range(2**32 - count, 2**32))
    result = decoded(frame_of(Result(9, 1, 0, (numbered(3),), True, 1, 2, 3, 4, steps)))
    assert (result.wait_us, result.run_us, result.model_rows, result.padding_rows) == (1, 2, 3, 4)
    assert result.steps == steps
    assert numbers_in(result.groups) == [0, 1, 2]


@pytest.mark.parametrize("steps", [(1,) * 4097, (-1,), (2**32,)])
def test_times_of_steps_that_cannot_be_sent(steps: tuple[int, ...]) -> None:
    with pytest.raises((ValueError, struct.error)):
        frame_of(Result(9, 1, 0, (numbered(3),), True, steps=steps))


@pytest.mark.parametrize("told", [4, 4097, 2**32 - 1])
def test_more_times_of_steps_than_there_are(told: int) -> None:
    frame = bytearray(frame_of(Result(9, 1, 0, (), True, steps=(1, 2))))
    at = 8 + 7 * 4 + 1 + 4  # behind the frame's head, the ints, the bool and the count of groups
    assert frame[at : at + 4] == struct.pack("<I", 2)
    frame[at : at + 4] = struct.pack("<I", told)
    with pytest.raises(ChannelError):
        decoded(bytes(frame))


@pytest.mark.parametrize("status", [-5, 0, 200, 399, 600, 99999])
def test_a_failure_has_a_status_of_http_that_says_so(status: int) -> None:
    failed = FailedRows(Failure(StatusCode.FAILED, "no", http_status=status), 1)
    with pytest.raises(ChannelError, match=f"should be an HTTP status from 400 to 599, but is {status}"):
        decoded(frame_of(Result(0, 0, 0, (failed,), True)))


def test_large_data_crosses_in_shared_memory(memory: SharedMemory) -> None:
    rows = rows_of(
        x=np.arange(3 * INLINE_LIMIT, dtype=np.uint8).reshape(3, -1), y=np.arange(3, dtype=np.float64)
    )
    frame = frame_of(Batch(0, 1, "m", (rows.take(0, 1), rows.take(1, 3))), memory)
    assert len(frame) < 1000
    batch = decoded(frame, memory)
    assert isinstance(batch, Batch)
    assert_equal_rows(batch.groups[0], rows)


@pytest.mark.parametrize("own", [True, False])
def test_a_receiver_may_own_what_came_through_shared_memory(memory: SharedMemory, own: bool) -> None:
    rows = rows_of(x=np.ones((2, INLINE_LIMIT), np.uint8))
    result = decoded(frame_of(Result(0, 0, 0, (rows,), True), memory), memory, own=own)
    next_rows = rows_of(x=np.zeros((2, INLINE_LIMIT), np.uint8))
    frame_of(Result(1, 0, 0, (next_rows,), True), memory)
    assert isinstance(result, Result)
    assert_equal_rows(result.groups[0], rows if own else next_rows)


def test_results_of_one_batch_wait_beside_each_other(memory: SharedMemory) -> None:
    """The worker may send the next results of a batch before main has read the ones before."""
    blocks = [rows_of(x=np.full((2, INLINE_LIMIT), value, np.uint8)) for value in (1, 2, 3)]
    results = [Result(7, 0, 2 * i, (rows,), i == 2) for i, rows in enumerate(blocks)]
    frames = [frame_of(result, memory) for result in results]
    for frame, rows in zip(frames, blocks, strict=True):
        result = decoded(frame, memory, own=True)
        assert isinstance(result, Result)
        assert_equal_rows(result.groups[0], rows)


def test_the_next_batch_uses_the_same_memory(memory: SharedMemory) -> None:
    rows = rows_of(x=np.ones((2, INLINE_LIMIT), np.uint8))
    first = frame_of(Result(1, 0, 0, (rows,), True), memory)
    assert frame_of(Result(2, 0, 0, (rows,), True), memory)[16:] == first[16:]


def test_slots_do_not_share_memory(memory: SharedMemory) -> None:
    blocks = [rows_of(x=np.full((2, INLINE_LIMIT), value, np.uint8)) for value in (1, 2)]
    frames = [frame_of(Batch(slot, slot, "m", (rows,)), memory) for slot, rows in enumerate(blocks)]
    for frame, rows in zip(frames, blocks, strict=True):
        batch = decoded(frame, memory)
        assert isinstance(batch, Batch)
        assert_equal_rows(batch.groups[0], rows)


@pytest.mark.parametrize("call", [False, True])
def test_results_do_not_overwrite_the_instances_that_they_belong_to(memory: SharedMemory, call: bool) -> None:
    """The worker may still compute on the instances, or retry with them."""
    asked = rows_of(x=np.ones((2, INLINE_LIMIT), np.uint8))
    told = rows_of(x=np.zeros((2, INLINE_LIMIT), np.uint8))
    sent = ModelCall(7, 1, "m", (asked,)) if call else Batch(7, 1, "m", (asked,))
    frame = frame_of(sent, memory)
    other_side = SharedMemory(os.dup(memory.fd), 2)
    frame_of(ModelReply(7, 1, (told,)) if call else Result(7, 1, 0, (told,), True), other_side)
    other_side.close()
    got = decoded(frame, memory)
    assert isinstance(got, (Batch, ModelCall))
    assert_equal_rows(got.groups[0], asked)


def test_a_message_that_could_not_be_written_takes_no_memory(memory: SharedMemory) -> None:
    rows = rows_of(x=np.ones((2, INLINE_LIMIT), np.uint8))
    with pytest.raises(struct.error):
        frame_of(Batch(2**32, 1, "m", (rows,)), memory)
    failing = FailedRows(Failure(StatusCode.FAILED, "no", http_status=2**70), -1)
    with pytest.raises(struct.error):
        frame_of(Result(7, 1, 0, (rows, failing), True), memory)
    assert memory.written(memory.request_region(1), 2**32) == 0
    assert memory.written(memory.reply_region(1), 7) == 0


@pytest.mark.parametrize("shared", [True, False])
def test_calls_of_models_travel_like_batches(memory: SharedMemory, shared: bool) -> None:
    rows = numbered(1 << 15)
    used = memory if shared else None
    call = decoded(frame_of(ModelCall(7, 1, "@call_a_0", (rows,)), used), used)
    assert type(call) is ModelCall
    assert (call.call_id, call.slot, call.method) == (7, 1, "@call_a_0")
    assert_equal_rows(call.groups[0], rows)
    reply = decoded(frame_of(ModelReply(7, 1, (rows,)), used), used)
    assert type(reply) is ModelReply
    assert_equal_rows(reply.groups[0], rows)


@pytest.mark.parametrize("slot", [1, NO_SLOT])
@pytest.mark.parametrize("shared", [True, False])
def test_calls_of_methods_travel_with_a_slot_and_without(
    memory: SharedMemory, shared: bool, slot: int
) -> None:
    rows = numbered(1 << 15)
    used = memory if shared else None
    frame = frame_of(MethodCall(7, slot, 3, 5, 2, 1 << 15, (rows,)), used)
    assert (len(frame) < INLINE_LIMIT) == (shared and slot != NO_SLOT)
    call = decoded(frame, used)
    assert type(call) is MethodCall
    assert (call.call_id, call.slot, call.target, call.batch_id, call.start) == (7, slot, 3, 5, 2)
    assert (call.held, call.count) == (1 << 15, 1 << 15)
    assert_equal_rows(call.groups[0], rows)
    reply = decoded(frame_of(MethodReply(7, slot, (rows,)), used), used)
    assert type(reply) is MethodReply
    assert_equal_rows(reply.groups[0], rows)


def test_data_in_no_slot_at_all_is_no_message(memory: SharedMemory) -> None:
    frame = bytearray(frame_of(MethodCall(7, 1, 0, 0, 0, 1, (numbered(1 << 15),)), memory))
    at = frame.index((1).to_bytes(4, "little"), 12)  # the slot follows the number of the call
    frame[at : at + 4] = NO_SLOT.to_bytes(4, "little")
    with pytest.raises(ChannelError, match="MethodCall that cannot be read"):
        decoded(bytes(frame), memory)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", "1"),
        ("version", None),
        ("version", 2.5),
        ("version", True),
        ("servable", None),
        ("nonce", 7),
        ("proof", None),
        ("address", []),
        ("methods", None),
        ("methods", [1]),
        ("methods", [{"name": 1, "input_names": [], "batch_limit": 1}]),
        ("methods", [{"name": "m", "input_names": [1], "batch_limit": 1}]),
        ("methods", [{"name": "m", "input_names": [], "batch_limit": "1"}]),
        ("methods", [{"name": "m", "input_names": [], "batch_limit": 1, "inputs": ["x"]}]),
        (
            "methods",
            [{"name": "m", "input_names": [], "batch_limit": 1, "inputs": [{"name": "x", "dtype": 99}]}],
        ),
        (
            "methods",
            [{"name": "m", "input_names": [], "batch_limit": 1, "inputs": [{"name": "x", "shape": [-2]}]}],
        ),
        ("more", 1),
    ],
)
def test_a_control_message_with_a_field_of_another_type_is_refused(field: str, value: object) -> None:
    join = {
        **dict.fromkeys(("nonce", "proof", "address", "member", "servable"), "x"),
        "pid": 1,
        "version": 1,
        "methods": [],
        field: value,
    }
    with pytest.raises(ChannelError, match="cannot be read"):
        message_of(13, memoryview(orjson.dumps(join)), ANY)


def test_a_frame_above_the_limit_of_its_reader_is_refused() -> None:
    frame = frame_of(JoinRefused("x" * 100))
    assert len(list(FrameSplitter(largest=200).feed(frame))) == 1
    with pytest.raises(ChannelError, match="which is none"):
        list(FrameSplitter(largest=50).feed(frame))


@pytest.mark.parametrize("step", [1, 3, 7, 64, 1000])
def test_a_stream_may_come_in_pieces_of_any_size(step: int) -> None:
    messages = [Batch(i, 0, "m", (numbered(i + 1),)) for i in range(5)]
    stream = b"".join(frame_of(message) for message in messages)
    splitter = FrameSplitter()
    got = [
        message_of(kind, body, ANY)
        for at in range(0, len(stream), step)
        for kind, body in splitter.feed(stream[at : at + step])
    ]
    batches = [message for message in got if isinstance(message, Batch)]
    assert [numbers_in(batch.groups) for batch in batches] == [list(range(i + 1)) for i in range(5)]


@pytest.mark.parametrize(
    "head", [b"\xff\xff\xff\xff\x05\0\0\0", b"\x08\0\0\0\x63\0\0\0", b"GET / HTTP/1.1\r\n"]
)
def test_bytes_that_are_no_frame_are_refused(head: bytes) -> None:
    with pytest.raises(ChannelError, match="which is none"):
        list(FrameSplitter().feed(head))


def test_a_damaged_body_is_a_channel_error_and_nothing_else() -> None:
    source = random.Random(5)
    frame = frame_of(Batch(1, 0, "method", (numbered(4), texts(["a", "bc"]))))
    for _ in range(3000):
        body = bytearray(frame[8:])
        for _ in range(source.randint(1, 4)):
            body[source.randrange(len(body))] = source.randrange(256)
        body = body[: source.randint(0, len(body))]
        try:
            message_of(5, memoryview(body), ANY)
        except ChannelError:
            continue


@pytest.mark.parametrize("kind", [3, 255])
def test_a_group_of_an_unknown_kind_is_refused(kind: int) -> None:
    frame = bytearray(frame_of(Batch(1, 0, "m", (numbered(2),))))
    at = 8 + 16 + 8 + 8  # behind the frame's head, the numbers, the method, and two numbers of the group
    frame[at] = kind
    with pytest.raises(ChannelError, match=f"kind {kind}"):
        decoded(bytes(frame))


def test_shared_data_without_shared_memory_is_refused(memory: SharedMemory) -> None:
    frame = frame_of(Batch(0, 0, "m", (rows_of(x=np.ones((2, INLINE_LIMIT), np.uint8)),)), memory)
    with pytest.raises(ChannelError, match="there is none"):
        decoded(frame)


def test_a_region_gives_large_pages_back(memory: SharedMemory) -> None:
    memory.view(0, 0, 100 << 20)[:] = 1
    memory.release(0)
    assert not memory.view(0, 0, 100 << 20).any()


@pytest.mark.parametrize(("offset", "size"), [(-1, 8), (0, 1 << 40), (1 << 36, 1)])
def test_a_view_outside_a_region_is_refused(memory: SharedMemory, offset: int, size: int) -> None:
    with pytest.raises(OSError, match="outside"):
        memory.view(0, offset, size)
