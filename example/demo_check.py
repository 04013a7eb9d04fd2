"""The demo with --check: runs demo.py as a user would, sends requests, and compares the replies."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lenet.digits import held_out_set

from mindspore_serving.client import Client

START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 20
REPLY_TIMEOUT_S = 60
LEAST_ACCURACY = 0.9
SHOWN_CHARACTERS = 240

X1 = np.array([[1.5, 2.5], [3.5, 4.5]], np.float32)
X2 = np.array([[10, 20], [30, 40]], np.float32)


def check(demo: Path, ready_line: str, lite: bool = False) -> int:
    """Serve over TCP and check gRPC and REST, then serve again and check gRPC over a Unix socket.

    Args:
        demo: The script that serves.
        ready_line: What it prints when it is ready.
        lite: Whether MindSpore Lite runs the models.

    Returns:
        Exit status, 0 if all replies were right.
    """
    begin = time.monotonic()
    os.environ.update(no_grpc_proxy="127.0.0.1")  # gRPC would ask a proxy of the environment, if there is one
    # An exception, so that the server is ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    replies = Replies()
    options = ["--lite"] if lite else []
    with tempfile.TemporaryDirectory(prefix="serving_demo_") as folder:
        grpc, rest = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        with running_demo(demo, ready_line, grpc, rest, options):
            check_grpc(replies, "gRPC", grpc)
            check_rest(replies, rest)
        grpc = f"unix:{folder}/grpc.socket"
        with running_demo(demo, ready_line, grpc, rest, options):
            check_grpc(replies, "Unix socket", grpc)
    seconds = time.monotonic() - begin
    if replies.wrong:
        print(f"demo: {len(replies.wrong)} of {replies.count} replies were wrong: {', '.join(replies.wrong)}")
        return 1
    print(f"==> All {replies.count} replies were right, after {seconds:.1f} s")
    return 0


class Replies:
    """What has been checked so far."""

    def __init__(self) -> None:
        self.count = 0
        self.wrong: list[str] = []

    def add(self, title: str, request: object, reply: object, right: bool, remark: str = "") -> None:
        """Show a request with its reply, and keep whether it was right."""
        self.count += 1
        verdict = "right" if right else "WRONG"
        print(f"--> {title}: {shortened(request)}\n<-- {shortened(reply)}")
        print(f"    {verdict}{', ' if remark else ''}{remark}", flush=True)
        if not right:
            self.wrong.append(title)


def check_grpc(replies: Replies, transport: str, address: str) -> None:
    def predict(
        servable: str, method: str, instances: list[dict[str, Any]], judge: Callable[[Any], tuple[bool, str]]
    ) -> None:
        reply = infer(address, servable, method, instances)
        replies.add(f"{transport} {servable}.{method}", instances, reply, *judge(reply))

    instances: list[dict[str, Any]] = [{"x1": X1 * i, "x2": X2 * i} for i in (1, 2, 3)]
    sums = [(X1 + X2) * i for i in (1, 2, 3)]
    predict("add", "add_common", instances, lambda results: judge_sums(results, sums))

    instances = [{"x1": np.int32([[1, 2], [3, 4]]), "x2": np.int8([[1, 1], [1, 1]])}]
    predict("add", "add_cast", instances, lambda results: judge_sums(results, [[[2, 3], [4, 5]]]))

    images, digits = held_out_set()
    instances = [{"image": image} for image in images]
    predict("lenet", "predict", instances, lambda results: judge_labels(results, digits))


def check_rest(replies: Replies, address: str) -> None:
    def predict(path: str, instances: list[dict[str, Any]], judge: Callable[[Any], tuple[bool, str]]) -> None:
        reply = post(address, path, instances)
        right, remark = judge(reply.get("instances"))
        replies.add(
            f"REST POST {path}", json.dumps({"instances": instances}), json.dumps(reply), right, remark
        )

    instances: list[dict[str, Any]] = [{"x1": X1.tolist(), "x2": X2.tolist()}]
    predict("/model/add:add_common", instances, lambda results: judge_sums(results, [X1 + X2]))

    instances = [{"x1": [[1, 2], [3, 4]], "x2": [[1, 1], [1, 1]]}]
    predict(
        "/model/add/version/1:add_cast", instances, lambda results: judge_sums(results, [[[2, 3], [4, 5]]])
    )

    images, digits = held_out_set()
    instances = [{"image": {"b64": base64.b64encode(image).decode()}} for image in images]
    predict("/model/lenet:predict", instances, lambda results: judge_labels(results, digits))


def infer(address: str, servable: str, method: str, instances: list[dict[str, Any]]) -> Any:
    with Client(address, servable, method) as client:
        return client.infer(instances, timeout=REPLY_TIMEOUT_S)


def post(address: str, path: str, instances: list[dict[str, Any]]) -> Any:
    """The reply to a REST request, or `{"error": text}` where none can be read."""
    connection = http.client.HTTPConnection(address, timeout=REPLY_TIMEOUT_S)
    try:
        connection.request("POST", path, json.dumps({"instances": instances}))
        return json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        return {"error": repr(error)}
    finally:
        connection.close()


def judge_sums(results: Any, expected: list[Any]) -> tuple[bool, str]:
    """Whether the results are the expected sums; no remark."""
    right = are_outputs(results, "y", len(expected)) and all(
        np.shape(result["y"]) == np.shape(y) and np.allclose(result["y"], y)
        for result, y in zip(results, expected, strict=True)
    )
    return right, ""


def judge_labels(results: Any, digits: Any) -> tuple[bool, str]:
    """Whether enough labels are the digits that the images show, and how many are."""
    if not are_outputs(results, "label", len(digits)):
        return False, ""
    hits = sum(int(result["label"]) == digit for result, digit in zip(results, digits, strict=True))
    accuracy = hits / len(digits)
    return accuracy >= LEAST_ACCURACY, f"{hits} of {len(digits)} held-out images, accuracy {accuracy:.3f}"


def are_outputs(results: Any, name: str, count: int) -> bool:
    """Whether these are as many results, each with that output."""
    return isinstance(results, list) and len(results) == count and all(name in result for result in results)


@contextlib.contextmanager
def running_demo(demo: Path, ready_line: str, grpc: str, rest: str, options: Sequence[str]) -> Iterator[None]:
    """A demo that serves; it is stopped as by Ctrl+C on exit.

    Raises:
        RuntimeError: It does not start, or does not end in time or with success.
    """
    print(f"==> Starting the demo: gRPC {grpc}, REST {rest}", flush=True)
    process = subprocess.Popen(
        [sys.executable, demo, "--grpc", grpc, "--rest", rest, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    ready: queue.SimpleQueue[bool] = queue.SimpleQueue()
    echo = threading.Thread(target=show_output, args=(process, ready_line, ready), daemon=True)
    echo.start()
    try:
        if not ready.get(timeout=START_TIMEOUT_S):
            raise RuntimeError("the demo did not start, its reason stands above")
        yield
        process.send_signal(signal.SIGINT)
        begin = time.monotonic()
        status = process.wait(STOP_TIMEOUT_S)
        echo.join()
    except queue.Empty as cause:
        raise RuntimeError(f"the demo was not ready within {START_TIMEOUT_S} s") from cause
    except subprocess.TimeoutExpired as cause:
        raise RuntimeError(f"the demo did not end within {STOP_TIMEOUT_S} s after Ctrl+C") from cause
    finally:
        if process.poll() is None:
            end(process)
    if status:
        raise RuntimeError(f"the demo ended with exit status {status} after Ctrl+C")
    print(f"==> Stopped the demo by Ctrl+C in {time.monotonic() - begin:.1f} s", flush=True)


def show_output(process: subprocess.Popen[str], ready_line: str, ready: queue.SimpleQueue[bool]) -> None:
    """Show what the demo prints, but for what a user may try; puts True when it is ready, and False at its end."""
    assert process.stdout is not None
    shown = True
    with process.stdout:
        for line in process.stdout:
            shown = shown and "Ready." not in line
            if shown and line.strip():
                print(f"    | {line.rstrip()}", flush=True)
            if ready_line in line:
                shown = True
                ready.put(True)
    ready.put(False)


def end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def shortened(value: object) -> str:
    text = " ".join((value if isinstance(value, str) else repr(value)).split())
    return (
        text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]} ... ({len(text)} characters)"
    )
