"""Streams of requests of tritonclient: start_stream and async_stream_infer, and stream_infer of asyncio."""

from __future__ import annotations

import queue
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio

from tests.clients.triton import Array, Triton
from tests.support.serving import RunningServer

ANSWER_TIMEOUT_S = 30.0
Answer = tuple[Any, Any]
"""A result and an error, one of them None."""


class Stream:
    """A stream that is open."""

    def __init__(self, client: Triton) -> None:
        self._client = client
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        client.call("start_stream", lambda result, error: self._answers.put((result, error)))

    def send(self, model: str, x: Array, identity: str, **options: Any) -> None:
        self._client.call(
            "async_stream_infer", model, [self._client.input("x", x)], request_id=identity, **options
        )

    def answers(self, count: int) -> list[Answer]:
        """The next answers."""
        return [self._answers.get(timeout=ANSWER_TIMEOUT_S) for _ in range(count)]

    def stop(self) -> list[Answer]:
        """End it when all has been answered; returns the answers that were left."""
        self._client.call("stop_stream")
        left = []
        while not self._answers.empty():
            left.append(self._answers.get())
        return left


@pytest.fixture
def stream(server: RunningServer) -> Iterator[Callable[[], Stream]]:
    """Opens streams of one client, one after the other."""
    with Triton("grpc", server) as client:
        yield lambda: Stream(client)


def row(number: float) -> Array:
    return np.full((1, 4), number, np.float32)


def identity_of(result: Any) -> str:
    return str(result.get_response().id)


def test_every_request_is_answered_with_its_id(stream: Callable[[], Stream]) -> None:
    opened = stream()
    for number in range(50):
        opened.send("echo.scores", row(number), str(number))
    for result, error in opened.answers(50):
        assert error is None
        assert (result.as_numpy("y") == float(identity_of(result))).all()
    assert opened.stop() == []


@pytest.mark.parametrize(
    ("model", "x", "named"),
    [
        ("echo.nothing", row(1), "nothing"),
        ("echo.scores", row(1).astype(np.float64), "FP64"),
        ("echo.scores", row(1)[:, :3], "3"),
        ("echo.root", np.array([-1], np.float32), "no root"),
    ],
    ids=["unknown model", "data type", "shape", "fails"],
)
def test_a_bad_request_does_not_end_the_stream(
    stream: Callable[[], Stream], model: str, x: Array, named: str
) -> None:
    opened = stream()
    opened.send("echo.scores", row(1), "first")
    [(result, error)] = opened.answers(1)
    assert (identity_of(result), error) == ("first", None)
    opened.send(model, x, "bad")
    [(result, error)] = opened.answers(1)
    assert result is None
    assert named in error.message()
    assert error.status() is None, "it is no error of the call"
    opened.send("echo.scores", row(3), "last")
    [(result, error)] = opened.answers(1)
    assert (identity_of(result), error) == ("last", None)
    assert opened.stop() == []


def test_what_was_sent_is_answered_before_the_stream_ends(stream: Callable[[], Stream]) -> None:
    opened = stream()
    for number in range(20):
        opened.send("echo.scores", row(number), str(number))
    answers = opened.stop()
    assert sorted(int(identity_of(result)) for result, _ in answers) == list(range(20))


def test_a_client_opens_one_stream_after_another(stream: Callable[[], Stream]) -> None:
    for number in range(5):
        opened = stream()
        opened.send("echo.scores", row(number), "")
        [(result, error)] = opened.answers(1)
        assert error is None
        assert result.as_numpy("y")[0, 0] == number
        assert opened.stop() == []


def test_the_last_answer_is_marked_for_who_asks(stream: Callable[[], Stream]) -> None:
    opened = stream()
    opened.send("echo.scores", row(7), "marked", enable_empty_final_response=True)
    [(result, error)] = opened.answers(1)
    assert error is None
    assert result.get_response().parameters["triton_final_response"].bool_param is True
    np.testing.assert_array_equal(result.as_numpy("y"), row(7))
    assert opened.stop() == []


def test_a_stream_that_is_cancelled_leaves_the_server_well(server: RunningServer) -> None:
    with Triton("grpc", server) as client:
        opened = Stream(client)
        for number in range(20):
            opened.send("echo.scores", row(number), str(number))
        client.call("stop_stream", cancel_requests=True)
        result = client.infer("echo.scores", {"x": row(2)})
        assert result.as_numpy("y")[0, 0] == 2


def test_a_stream_of_asyncio(server: RunningServer) -> None:
    async def requests() -> AsyncIterator[dict[str, Any]]:
        for number in range(10):
            x = tritonclient.grpc.InferInput("x", [1, 4], "FP32").set_data_from_numpy(row(number))
            model = "echo.nothing" if number == 4 else "echo.scores"
            yield {"model_name": model, "inputs": [x], "request_id": str(number)}

    async def answers() -> list[Answer]:
        async with tritonclient.grpc.aio.InferenceServerClient(server.grpc) as client:
            return [
                answer async for answer in client.stream_infer(requests(), stream_timeout=ANSWER_TIMEOUT_S)
            ]

    with Triton("grpc.aio", server) as client:
        found = client.run(answers())
    errors = [error for _, error in found if error is not None]
    assert ["nothing" in error.message() for error in errors] == [True]
    identities = {identity_of(result): result for result, error in found if error is None}
    assert sorted(identities, key=int) == [str(number) for number in range(10) if number != 4]
    for identity, result in identities.items():
        assert (result.as_numpy("y") == float(identity)).all()
