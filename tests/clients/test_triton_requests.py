"""What goes with the tensors of a request of tritonclient: ids, parameters, compression; and what is refused."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tests.clients.triton import FAILED, INVALID, NOT_FOUND, Array, Triton
from tests.support.serving import RunningServer

ONES = np.ones((1, 3), np.float32)
BOTH = {"a": ONES, "b": ONES}
THREADS, REQUESTS = 32, 50
ANSWER_TIMEOUT_S = 60.0


def response_of(result: Any) -> dict[str, Any]:
    """The head of a reply: model, version and id."""
    response = result.get_response()
    if isinstance(response, dict):
        return {name: response.get(name, "") for name in ("model_name", "model_version", "id")}
    return {"model_name": response.model_name, "model_version": response.model_version, "id": response.id}


@pytest.mark.parametrize("identity", ["", "42", "some id/你好"])
def test_the_id_comes_back(triton: Triton, identity: str) -> None:
    result = triton.infer("echo.add_sub", BOTH, request_id=identity)
    assert response_of(result) == {"model_name": "echo.add_sub", "model_version": "1", "id": identity}


@pytest.mark.parametrize("model", ["echo.add_sub", "add.add"])
def test_a_version_may_be_named(triton: Triton, model: str) -> None:
    inputs = BOTH if model == "echo.add_sub" else {"x1": ONES[:, :2], "x2": ONES[:, :2]}
    assert response_of(triton.infer(model, inputs, model_version="1"))["model_version"] == "1"


@pytest.mark.parametrize(
    "options",
    [
        {"priority": 1},
        {"priority": 100},
        {"timeout": 30_000_000},
        {"parameters": {"text": "x", "whole": 3, "fraction": 0.5, "flag": True}},
        {"priority": 3, "timeout": 30_000_000, "parameters": {"a": 1}, "request_id": "1"},
        {"headers": {"x-request-id": "of-the-client", "traceparent": f"00-{1:032x}-{1:016x}-01"}},
    ],
    ids=lambda options: " ".join(options),
)
def test_parameters_are_taken(triton: Triton, options: dict[str, Any]) -> None:
    result = triton.infer("echo.add_sub", BOTH, **options)
    np.testing.assert_array_equal(result.as_numpy("total"), ONES * 2)


@pytest.mark.parametrize("answered", [None, "gzip", "deflate"])
@pytest.mark.parametrize("asked", [None, "gzip", "deflate"])
@pytest.mark.parametrize("triton", ["http", "http.aio"], indirect=True)
@pytest.mark.parametrize("binary", [True, False], ids=["bytes", "JSON"])
def test_compression_over_http(triton: Triton, asked: str | None, answered: str | None, binary: bool) -> None:
    sent = np.zeros((2, 5000), np.int32) + np.arange(5000, dtype=np.int32)
    result = triton.infer(
        "echo.identity_int32",
        {"x": sent},
        binary=binary,
        outputs=[triton.output("y", binary=binary)],
        request_compression_algorithm=asked,
        response_compression_algorithm=answered,
    )
    np.testing.assert_array_equal(result.as_numpy("y"), sent)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
@pytest.mark.parametrize("triton", ["grpc", "grpc.aio"], indirect=True)
def test_compression_over_grpc(triton: Triton, algorithm: str) -> None:
    sent = np.zeros((2, 5000), np.int32) + np.arange(5000, dtype=np.int32)
    result = triton.infer("echo.identity_int32", {"x": sent}, compression_algorithm=algorithm)
    np.testing.assert_array_equal(result.as_numpy("y"), sent)


@pytest.mark.parametrize(
    ("model", "version"),
    [
        ("nothing", ""),
        ("echo.nothing", ""),
        ("nothing.identity_bool", ""),
        ("echo.add_sub", "7"),
        ("echo.", ""),
    ],
)
def test_unknown_models_are_not_found(triton: Triton, model: str, version: str) -> None:
    text = triton.refused(NOT_FOUND, model, BOTH, model_version=version)
    assert model.split(".")[0] in text or version in text


@pytest.mark.parametrize(
    ("model", "inputs", "named"),
    [
        ("echo.add_sub", {"a": ONES, "b": ONES.astype(np.float64)}, ("b", "FP64", "FP32")),
        ("echo.add_sub", {"a": ONES, "b": ONES.astype(np.int32)}, ("b", "INT32", "FP32")),
        ("echo.add_sub", {"a": ONES, "b": np.array([["x"] * 3], np.object_)}, ("b", "BYTES", "FP32")),
        ("echo.identity_text", {"x": ONES[:, 0]}, ("x", "FP32", "BYTES")),
        ("echo.add_sub", {"a": ONES, "b": np.ones((1, 4), np.float32)}, ("b", "4", "3")),
        ("echo.add_sub", {"a": ONES, "b": np.ones((1, 1, 3), np.float32)}, ("b", "[1,1,3]")),
        (
            "echo.add_sub",
            {"a": np.ones((2, 3), np.float32), "b": np.ones((3, 3), np.float32)},
            ("a", "b", "2", "3"),
        ),
        ("echo.add_sub", {"a": ONES}, ("b",)),
        ("echo.add_sub", {"a": ONES, "b": ONES, "c": ONES}, ("c", "a", "b")),
        ("add.add", {"x1": ONES, "x2": ONES[:, :2]}, ("x1", "3", "2")),
        ("add.subtract", {"x1": ONES, "x2": np.ones((2, 2), np.float32)}, ("x1", "3", "2")),
    ],
    ids=[
        "fraction of another width",
        "whole numbers",
        "texts instead of numbers",
        "numbers instead of texts",
        "shape",
        "rank",
        "rows",
        "missing",
        "unknown",
        "shape of a model",
        "shape of a model without batch dimension",
    ],
)
def test_wrong_tensors_are_refused_by_name(
    triton: Triton, model: str, inputs: dict[str, Array], named: tuple[str, ...]
) -> None:
    text = triton.refused(INVALID, model, inputs).replace(" ", "")
    assert all(word in text for word in named), text


def test_an_unknown_output_is_refused_by_name(triton: Triton) -> None:
    text = triton.refused(INVALID, "echo.add_sub", BOTH, outputs=[triton.output("sum")])
    assert all(word in text for word in ("sum", "total", "difference")), text


@pytest.mark.parametrize(
    ("bad", "statuses", "reason"),
    [(-1.0, INVALID, "-1.0 has no root"), (-2.0, FAILED, "-2 breaks it")],
    ids=["by the input", "by the function"],
)
def test_a_failed_row_is_named_with_its_reason(
    triton: Triton, bad: float, statuses: tuple[str, str], reason: str
) -> None:
    sent = np.array([4.0, 9.0, 16.0, bad, 25.0], np.float32)
    text = triton.refused(statuses, "echo.root", {"x": sent})
    assert reason in text
    assert re.search(r"\b3\b", text.replace(reason, "")), text
    assert triton.infer("echo.root", {"x": sent[:3]}).as_numpy("y").tolist() == [2, 3, 4]


def test_it_answers_after_each_refusal(triton: Triton) -> None:
    for _ in range(3):
        triton.refused(INVALID, "echo.add_sub", {"a": ONES})
        result = triton.infer("echo.add_sub", BOTH)
        np.testing.assert_array_equal(result.as_numpy("difference"), ONES * 0)


def test_asynchronous_requests_over_http(server: RunningServer) -> None:
    with Triton("http", server, concurrency=4) as triton:
        sent = [np.full((1, 4), number, np.float32) for number in range(8)]
        calls = [
            triton.call("async_infer", "echo.scores", [triton.input("x", one)], request_id=str(i))
            for i, one in enumerate(sent)
        ]
        for number, (call, one) in enumerate(zip(calls, sent, strict=True)):
            result = call.get_result(timeout=ANSWER_TIMEOUT_S)
            assert response_of(result)["id"] == str(number)
            np.testing.assert_array_equal(result.as_numpy("y"), one)
        wrong = triton.call("async_infer", "echo.nothing", [triton.input("x", sent[0])])
        triton.call_refused(NOT_FOUND, wrong.get_result)


def test_asynchronous_requests_over_grpc(server: RunningServer) -> None:
    done: dict[str, Any] = {}
    all_done = threading.Event()

    def note(number: int) -> Callable[..., None]:
        def noted(result: Any, error: Any) -> None:
            done[str(number)] = result if error is None else error
            if len(done) == 9:
                all_done.set()

        return noted

    with Triton("grpc", server) as triton:
        for number in range(9):
            model = "echo.scores" if number < 8 else "echo.nothing"
            inputs = [triton.input("x", np.full((1, 4), number, np.float32))]
            triton.call("async_infer", model, inputs, note(number), request_id=str(number))
        assert all_done.wait(ANSWER_TIMEOUT_S)
    assert done.pop("8").status() == NOT_FOUND[1]
    for number, result in done.items():
        assert response_of(result)["id"] == number
        assert (result.as_numpy("y") == float(number)).all()


def test_many_threads_over_http_get_their_own_values(server: RunningServer) -> None:
    """Each has a client of its own, as tritonclient asks for."""

    def ask(thread: int) -> int:
        with Triton("http", server) as triton:
            return sum(right(triton, thread, number) for number in range(REQUESTS))

    with ThreadPoolExecutor(THREADS) as pool:
        assert list(pool.map(ask, range(THREADS))) == [REQUESTS] * THREADS


def test_many_threads_over_grpc_get_their_own_values(server: RunningServer) -> None:
    """They share a client."""
    with Triton("grpc", server) as triton, ThreadPoolExecutor(THREADS) as pool:

        def ask(thread: int) -> int:
            return sum(right(triton, thread, number) for number in range(REQUESTS))

        assert list(pool.map(ask, range(THREADS))) == [REQUESTS] * THREADS


def right(triton: Triton, thread: int, number: int) -> bool:
    a = np.full((1 + number % 3, 3), thread, np.float32)
    b = np.full_like(a, number)
    result = triton.infer("echo.add_sub", {"a": a, "b": b}, request_id=f"{thread}-{number}")
    return (
        response_of(result)["id"] == f"{thread}-{number}"
        and np.array_equal(result.as_numpy("total"), a + b)
        and np.array_equal(result.as_numpy("difference"), a - b)
    )
