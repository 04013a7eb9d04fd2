"""What decides whether a benchmark's replies were right: none of it may be unable to fail."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import orjson
import pytest

from benchmarks.checking import Checker, wrong_by_size
from benchmarks.load_tools import parse_h2load, parse_wrk, read_h2load_log, wrk_command
from benchmarks.messages import is_reply, request_bytes
from benchmarks.workloads import noise_png, workloads
from mindspore_serving.proto import ms_service_pb2 as pb

WRK = """\
Running 1s test @ http://127.0.0.1:45002/model/a:b
  22525 requests in 1.10s, 3.76MB read
figures 1099517 22525 3941875 {errors} 349.0 1405.0 5446.0
"""

H2LOAD = """\
finished in 702.42ms, 3004.29 req/s, 483.50KB/s
requests: 2103 total, 2111 started, 2103 done, {succeeded} succeeded, {failed} failed, 0 errored, 0 timeout
status codes: {succeeded} 2xx, 0 3xx, 0 4xx, {failed} 5xx
traffic: 338.45KB (346571) total, 6.75KB (6909) headers (space savings 95.94%), 215.64KB (220815) data
"""


class FakeClient:
    """Gives one reply after the other; None stands for a failure."""

    def __init__(self, *replies: bytes | None) -> None:
        self._replies = list(replies)

    def ask(self) -> bytes:
        reply = self._replies.pop(0)
        if reply is None:
            raise ConnectionError("the call failed")
        return reply

    def close(self) -> None:
        """Nothing is open."""


def test_a_checker_counts_wrong_replies_and_missing_ones() -> None:
    checker = Checker(FakeClient(b"reply", b"reply!", None, b"reply"), b"reply")
    checker.check(4)
    assert (checker.checked, checker.wrong) == (4, 2)
    assert checker.first_fault == "6 bytes instead of 5, different from byte 5 on: b'reply!'"


def test_a_steady_check_looks_at_one_reply_at_least() -> None:
    checker = Checker(FakeClient(b"another"), b"reply")
    with checker.steadily(per_second=0.001):
        pass
    assert (checker.checked, checker.wrong) == (1, 1)


@pytest.mark.parametrize(
    ("received", "wrong"),
    [(1000, 0), (1010, 0), (1030, 0), (1007, 1), (1031, 1), (999, 1), (1055, 3), (900, 10), (0, 100)],
)
def test_replies_of_another_size_show_in_the_bytes(received: int, wrong: int) -> None:
    assert wrong_by_size(received, requests=100, reply_bytes=10, clients=3) == wrong


@pytest.mark.parametrize(
    ("received", "wrong"),
    [(10_000_000, 0), (10_123_456, 0), (10_300_000, 0), (10_300_001, 1), (9_999_999, 1), (9_700_000, 3)],
)
def test_a_large_reply_may_have_come_in_part(received: int, wrong: int) -> None:
    assert wrong_by_size(received, requests=100, reply_bytes=100_000, clients=3) == wrong


def test_the_figures_of_wrk_are_read() -> None:
    seen = parse_wrk(WRK.format(errors="0 0 0 0 0"))
    assert (seen.requests, seen.failed, seen.received_bytes) == (22525, 0, 3941875)
    assert (seen.seconds, seen.p50_ms, seen.p99_ms) == (1.099517, 0.349, 1.405)


def test_every_kind_of_error_of_wrk_counts() -> None:
    assert parse_wrk(WRK.format(errors="1 2 4 8 16")).failed == 31


def test_wrk_is_asked_for_whole_seconds() -> None:
    assert [wrk_command("http://host", Path("body"), 8, length)[6] for length in (0.3, 1.0, 2.6)] == [
        "1s",
        "1s",
        "3s",
    ]


def test_wrk_gets_the_headers_of_the_request() -> None:
    command = wrk_command("http://host", Path("body"), 8, 1.0, {"Content-Type": "text/plain", "A-B": "1"})
    assert command[command.index("--") :] == ["--", "body", "Content-Type: text/plain", "A-B: 1"]


def test_the_figures_of_h2load_are_read() -> None:
    assert parse_h2load(H2LOAD.format(succeeded=2103, failed=0)) == (2103, 0, 220815)


def test_failures_of_h2load_count() -> None:
    assert parse_h2load(H2LOAD.format(succeeded=2100, failed=3)) == (2103, 3, 220815)


@pytest.mark.parametrize("parse", [parse_wrk, parse_h2load])
def test_output_without_figures_is_refused(parse: type) -> None:
    with pytest.raises(ValueError, match="connection refused"):
        parse("connection refused")


def test_a_log_of_h2load_is_read_for_the_time_of_a_turn() -> None:
    lines = [f"{1_000_000 + 1000 * i}\t{200 if i else 503}\t{100 + i}" for i in range(200)]
    seen = read_h2load_log([*lines, "500000\t200\t5", "3000000\t200\t5"], begin=1.0, end=1.1)
    assert (seen.requests, seen.failed, seen.seconds) == (100, 1, pytest.approx(0.1))
    assert (seen.p50_ms, seen.p99_ms) == (0.149, 0.198)


INSTANCES = [{"x": np.ones((2, 2), np.float32)}, {"x": np.zeros((2, 2), np.float32)}]


def grpc_reply(y: np.ndarray, dtype: int = pb.MS_FLOAT32, error: str = "") -> bytes:
    reply = pb.PredictReply(servable_spec=pb.ServableSpec(name="bench"))
    tensor = pb.Tensor(dtype=dtype, data=y.tobytes(), shape=pb.TensorShape(dims=y.shape))  # type: ignore[arg-type]
    reply.instances.add().items["y"].CopyFrom(tensor)
    if error:
        reply.error_msg.add(error_code=1, error_msg=error.encode())
    return reply.SerializeToString()


def test_a_right_grpc_reply_is_right() -> None:
    assert is_reply("grpc", grpc_reply(np.ones(2, np.float32)), [{"y": np.ones(2, np.float32)}])


@pytest.mark.parametrize(
    "reply",
    [
        grpc_reply(np.zeros(2, np.float32)),
        grpc_reply(np.ones(3, np.float32)),
        grpc_reply(np.ones(2, np.int32), pb.MS_INT32),
        grpc_reply(np.ones(2, np.float32), error="failed"),
        pb.PredictReply(error_msg=[pb.ErrorMsg(error_code=1, error_msg=b"failed")]).SerializeToString(),
        b"",
        b"no message",
    ],
)
def test_a_wrong_grpc_reply_is_wrong(reply: bytes) -> None:
    assert not is_reply("grpc", reply, [{"y": np.ones(2, np.float32)}])


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        (b'{"instances":[{"y":[1.0,1.0]}]}', True),
        (b'{"instances":[{"y":[1.0,2.0]}]}', False),
        (b'{"instances":[{"y":[1.0,1.0]},{"y":[1.0,1.0]}]}', False),
        (b'{"instances":[{"error_msg":"failed"}]}', False),
        (b'{"error_msg":"failed"}', False),
        (b"no JSON", False),
    ],
)
def test_rest_replies_are_compared_by_value(reply: bytes, right: bool) -> None:
    assert is_reply("rest", reply, [{"y": np.ones(2, np.float32)}]) is right


def test_texts_and_bytes_differ() -> None:
    reply = pb.PredictReply()
    reply.instances.add().items["y"].CopyFrom(pb.Tensor(dtype=pb.MS_STRING, bytes_val=[b"a"]))
    assert is_reply("grpc", reply.SerializeToString(), [{"y": "a"}])
    assert not is_reply("grpc", reply.SerializeToString(), [{"y": b"a"}])


def test_requests_hold_their_instances() -> None:
    message = pb.PredictRequest.FromString(request_bytes("grpc", "bench", "echo", INSTANCES))
    assert [np.frombuffer(one.items["x"].data, np.float32).sum() for one in message.instances] == [4, 0]
    plain, encoded = (
        orjson.loads(request_bytes(kind, "bench", "echo", INSTANCES)) for kind in ("rest", "rest b64")
    )
    assert plain["instances"][0] == {"x": [[1.0, 1.0], [1.0, 1.0]]}
    assert encoded["instances"][1] == {"x": {"b64": "A" * 22 + "==", "type": "float32", "shape": [2, 2]}}


def test_workloads_have_names_of_their_own() -> None:
    names = [workload.name for workload in workloads()]
    assert len(set(names)) == len(names)


def test_the_png_is_one() -> None:
    image = pytest.importorskip("PIL.Image")
    file = noise_png()
    with image.open(io.BytesIO(file)) as picture:
        assert picture.convert("RGB").size == (256, 128)
    assert 98_000 < len(file) < 102_000
