"""More than a server takes: refusals by number, instances and bytes, deadlines, and room that becomes free again."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TextIO

import aiohttp
import numpy as np
import pytest

from mindspore_serving.client import Client
from mindspore_serving.client.python.async_client import AsyncClient
from tests.support.gate import Gate
from tests.support.grpc_messages import RawClient, errors, request
from tests.support.http_requests import HttpReply, raw_connection, read_raw_reply, send
from tests.support.serving import RunningServer, add_servable, free_port, running_script
from tests.support.watch import kill, wait_until

# `gated` tells the numbers that it gets, and waits at the gate before it answers.
SERVABLE = """\
from mindspore_serving.server import register


def at_the_gate(instances):
    with open("served", "a") as file:
        file.writelines(f"{int(x[0])}\\n" for x, in instances)
    pass_gate()
    return [x[0] * 2 for x, in instances]


def twice(x):
    return x[0] * 2


@register.register_method(output_names=["y"])
def gated(x):
    return register.add_stage(at_the_gate, x, outputs_count=1, batch_size=8)


@register.register_method(output_names=["y"])
def free(x):
    return register.add_stage(twice, x, outputs_count=1)
"""

# Reads setters of the limits, their values and a number from a named pipe, and tells that it has called them.
SCRIPT = """\
from mindspore_serving import server
from mindspore_serving.server.master import context

server.start_servables(
    [
        server.ServableStartConfig(
            ".", "limited", 0, slots_per_copy=1, max_enqueued_requests={most.requests},
            max_enqueued_instances={most.instances}, max_enqueued_bytes={most.byte_size},
        ),
        server.ServableStartConfig(".", "other", 1, slots_per_copy=1),
    ]
)
server.start_grpc_server({grpc!r})
server.start_restful_server({rest!r})
print("up", flush=True)
with open("commands") as commands:
    for line in commands:
        setter, value, number = line.split()
        getattr(context, setter)(int(value))
        print("done", number, flush=True)
"""


@dataclass(frozen=True)
class Most:
    """Limits, of the server or of a servable."""

    requests: int
    instances: int
    byte_size: int


MOST = Most(6, 12, 4096)
NO_LIMITS = Most(10_000, 1_000_000, 1 << 30)


@dataclass(frozen=True)
class Kind:
    """Requests of one size, and how many of them `MOST` lets in."""

    what: str
    instances: int
    numbers: int
    limit: int
    admitted: int


KINDS = (
    Kind("requests", 1, 1, MOST.requests, 6),
    Kind("instances", 4, 1, MOST.instances, 3),
    Kind("bytes", 1, 128, MOST.byte_size, 4),
)
ONE = KINDS[0]


@dataclass
class Overloaded:
    """The server, its gate, and what is asked of it.

    Attributes:
        server: With the servables `limited`, which has the limits `MOST`, and `other`, which has none.
        gate: Where `gated` waits.
    """

    server: RunningServer
    gate: Gate
    _commands: TextIO

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)

    def new_values(self, count: int) -> range:
        """Numbers that no request has had."""
        first = next(self._numbers) * 1000
        return range(first, first + count)

    def limit_server(self, most: Most) -> None:
        """Set the limits of the running server."""
        for name, value in vars(most).items():
            number = next(self._numbers)
            setter = f"set_max_enqueued_{name.replace('byte_size', 'bytes')}"
            self._commands.write(f"{setter} {value} {number}\n")
            self._commands.flush()
            self.server.wait_for_line(f"done {number}")

    def is_full(self) -> bool:
        """Whether the servable with limits refuses a further request: one without instances, hence an error anyhow."""
        with RawClient(self.server.grpc) as client:
            [(code, _)] = errors(client.predict(request("limited", "gated", [])))
        return code == 1

    def served(self, values: range) -> list[int]:
        """Those of some numbers that a worker has got."""
        lines = (self.server.folder / "served").read_text().split()
        return [value for value in map(int, lines) if value in values]


@pytest.fixture(scope="module")
def overloaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Overloaded]:
    folder = tmp_path_factory.mktemp("overload")
    grpc, rest = (f"127.0.0.1:{free_port()}" for _ in range(2))
    os.mkfifo(folder / "commands")
    (folder / "served").touch()
    with Gate(folder / "gate") as gate:
        for name in ("limited", "other"):
            add_servable(folder, name, gate.source + SERVABLE, ())
        script = folder / "start_server.py"
        script.write_text(SCRIPT.format(most=MOST, grpc=grpc, rest=rest))
        with running_script(script, environment={"SERVING_BACKEND": "stub"}) as running:
            running.wait_for_line("up")
            server = RunningServer(running.process, folder, running.lines, grpc=grpc, rest=rest)
            with (folder / "commands").open("w") as commands:
                yield Overloaded(server, gate, commands)


def exceeded(what: str, limit: int, servable: str = "") -> str:
    end = f", servable: {servable}" if servable else ""
    return f"Serving Error: enqueued {what} count exceeds the limit {limit}{end}"


def array(value: int, numbers: int = 1) -> np.ndarray:
    return np.full(numbers, value, np.float64)


def rest_body(value: int, kind: Kind = ONE) -> dict[str, Any]:
    data = base64.b64encode(array(value, kind.numbers).tobytes()).decode()
    x = {"b64": data, "type": "float64", "shape": [kind.numbers]}
    return {"instances": [{"x": x}] * kind.instances}


def post(overloaded: Overloaded, value: int, method: str = "limited:gated", **headers: str) -> HttpReply:
    names = {name.replace("_", "-"): text for name, text in headers.items()}
    body = rest_body(value)
    return send(overloaded.server.rest, "POST", f"/model/{method}", body, names)


Ask = Callable[[int, Kind], Awaitable["int | str"]]


@contextlib.asynccontextmanager
async def asking(overloaded: Overloaded, servable: str, method: str = "gated") -> AsyncIterator[Ask]:
    """A function that sends a request with a number, over gRPC or REST, and returns twice the number or the error."""
    async with (
        AsyncClient(overloaded.server.grpc, servable, method) as client,
        aiohttp.ClientSession() as session,
    ):

        async def ask(value: int, kind: Kind) -> int | str:
            if value % 2:
                reply = await client.infer([{"x": array(value, kind.numbers)}] * kind.instances)
                if isinstance(reply, dict):
                    return str(reply["error"])
                found = {int(one["y"]) for one in reply}
            else:
                url = overloaded.server.url(f"/model/{servable}:{method}")
                async with session.post(url, json=rest_body(value, kind)) as answer:
                    content = await answer.json()
                    assert (answer.status == 429) == ("Retry-After" in answer.headers)
                if "error_msg" in content:
                    assert answer.status == 429
                    return str(content["error_msg"])
                assert answer.status == 200
                found = {int(one["y"]) for one in content["instances"]}
            [result] = found
            return result

        yield ask


async def fill(overloaded: Overloaded, servable: str, kind: Kind, text: str) -> None:
    """Send far too many requests while the worker is held: those over the limit are refused, the others answered."""
    values = overloaded.new_values(5 * kind.admitted)
    other = "other" if servable == "limited" else "limited"
    async with asking(overloaded, servable) as ask, asking(overloaded, other, "free") as ask_other:
        tasks = {asyncio.create_task(ask(value, kind)): value for value in values}
        held = await asyncio.to_thread(overloaded.gate.hold)
        pending = set(tasks)
        while len(pending) > kind.admitted:  # refused while the worker is held
            done, pending = await asyncio.wait(pending, timeout=20, return_when=asyncio.FIRST_COMPLETED)
            assert done, f"{len(pending)} requests wait, {kind.admitted} may"
            assert {task.result() for task in done} == {text}
        [probe] = overloaded.new_values(1)
        assert await ask_other(probe, kind) == (2 * probe if text.endswith("limited") else text)
        with overloaded.gate.let_all_pass():
            held.release()
            await asyncio.wait(pending, timeout=20)
        answered = {value: task.result() for task, value in tasks.items() if task.result() != text}
        assert answered == {value: 2 * value for value in answered}
        assert len(answered) == kind.admitted


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.what)
def test_a_servable_refuses_what_is_over_its_limits(overloaded: Overloaded, kind: Kind) -> None:
    for _ in range(3):  # what is over leaves nothing behind
        asyncio.run(fill(overloaded, "limited", kind, exceeded(kind.what, kind.limit, "limited")))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.what)
def test_a_server_refuses_what_is_over_its_limits(overloaded: Overloaded, kind: Kind) -> None:
    overloaded.limit_server(MOST)
    try:
        for _ in range(3):
            asyncio.run(fill(overloaded, "other", kind, exceeded(kind.what, kind.limit)))
    finally:
        overloaded.limit_server(NO_LIMITS)


def test_the_answers_of_a_full_servable(overloaded: Overloaded) -> None:
    """A refusal comes before the body is looked at; what is wrong with the target is told as ever."""
    values = overloaded.new_values(MOST.requests)
    address = overloaded.server.rest
    with Client(overloaded.server.grpc, "limited", "gated") as client:
        calls = [client.infer_async({"x": array(value)}) for value in values]
        held = overloaded.gate.hold()
        wait_until(overloaded.is_full, "all places are taken")
        full = exceeded("requests", MOST.requests, "limited")
        no_method = "Request servable(limited) method(nosuch) , method is not available"
        for path, body, status, text in (
            ("/model/limited:gated", b"no JSON", 429, full),
            ("/model/limited:free", b"", 429, full),
            ("/model/limited:nosuch", b"", 400, "http message invalid"),
            ("/model/limited", b"{}", 400, "please check url, the keyword:[service method] must contain."),
            ("/model/limited:nosuch", rest_body(1), 404, no_method),
        ):
            reply = send(address, "POST", path, body)
            assert (reply.status, reply.error) == (status, text)
            assert reply.headers.get("retry-after") == ("1" if status == 429 else None)
        assert send(address, "PUT", "/model/limited:gated").status == 405
        with overloaded.gate.let_all_pass():
            held.release()
            assert [int(call.result()[0]["y"]) for call in calls] == [2 * value for value in values]


# --- Deadlines ---


@pytest.mark.both_grpc_servers
def test_requests_whose_deadline_passes_are_answered_and_never_run(overloaded: Overloaded) -> None:
    first, *late = values = overloaded.new_values(5)
    text = "Grpc Error, (4, 'deadline exceeded')"

    async def ask_async() -> Any:
        async with AsyncClient(overloaded.server.grpc, "limited", "gated") as client:
            return await client.infer({"x": array(late[0])}, timeout=0.2)

    with Client(overloaded.server.grpc, "limited", "gated") as client:
        patient = client.infer_async({"x": array(first)}, timeout=60)
        held = overloaded.gate.hold()
        assert asyncio.run(ask_async())["error"].startswith(text)
        assert client.infer({"x": array(late[1])}, timeout=0.2)["error"].startswith(text)
        call = client.infer_async({"x": array(late[2])}, timeout=0.2)
        reply = post(overloaded, late[3], X_Request_Timeout_Ms="150.5")
        assert (reply.status, reply.error) == (
            504,
            "Request servable(limited) method(gated)  version(1) , deadline of 150.5 ms exceeded",
        )
        assert call.result()["error"].startswith(text)
        wait_for_arrival(overloaded)  # the server has learnt that the call has ended
        with overloaded.gate.let_all_pass():
            held.release()
            assert int(patient.result()[0]["y"]) == 2 * first
            [last] = overloaded.new_values(1)
            assert int(client.infer({"x": array(last)}, timeout=60)[0]["y"]) == 2 * last
    assert overloaded.served(values) == [first]


@pytest.mark.both_grpc_servers
@pytest.mark.parametrize("end", ["closed", "late"])
def test_requests_that_end_early_give_their_places_back(overloaded: Overloaded, end: str) -> None:
    gone = overloaded.new_values(MOST.requests - 1)
    values = overloaded.new_values(MOST.requests)
    with Client(overloaded.server.grpc, "limited", "gated") as client:
        calls = [client.infer_async({"x": array(values[0])})]
        held = overloaded.gate.hold()
        if end == "late":
            with ThreadPoolExecutor(len(gone)) as pool:
                replies = pool.map(lambda value: post(overloaded, value, X_Request_Timeout_Ms="100"), gone)
                assert [reply.status for reply in replies] == [504] * len(gone)
        else:
            close_while_they_wait(overloaded, gone)
        for value in values[1:]:
            wait_until(lambda: not overloaded.is_full(), "there is a place again")
            calls.append(client.infer_async({"x": array(value)}))
            wait_for_arrival(overloaded)
        assert overloaded.is_full()
        with overloaded.gate.let_all_pass():
            held.release()
            assert [int(call.result()[0]["y"]) for call in calls] == [2 * value for value in values]
    assert overloaded.served(gone) == []
    asyncio.run(fill(overloaded, "limited", ONE, exceeded("requests", MOST.requests, "limited")))


def close_while_they_wait(overloaded: Overloaded, values: range) -> None:
    """Send requests, some over gRPC and some over REST, that fill the servable, and close their connections."""
    with contextlib.ExitStack() as stack:
        calls = []
        for value in values:
            if value % 2:
                client = stack.enter_context(Client(overloaded.server.grpc, "limited", "gated"))
                calls.append(client.infer_async({"x": array(value)}))
            else:
                send_by_hand(stack.enter_context(raw_connection(overloaded.server.rest)), value)
        wait_until(overloaded.is_full, "all places are taken")


def wait_for_arrival(overloaded: Overloaded) -> None:
    """Return once the main process has seen all that was sent before over gRPC."""
    with Client(overloaded.server.grpc, "limited", "nosuch") as client:
        assert "method is not available" in client.infer({"x": 1}, timeout=20)["error"]


def send_by_hand(
    connection: socket.socket, value: int, method: str = "limited:gated", header: str = "Accept: */*"
) -> None:
    body = f'{{"instances": [{{"x": [{value}]}}]}}'.encode()
    head = (
        f"POST /model/{method} HTTP/1.1\r\nHost: localhost\r\n{header}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)


def test_a_connection_goes_on_after_a_deadline(overloaded: Overloaded) -> None:
    first, late, last = overloaded.new_values(3)
    with Client(overloaded.server.grpc, "limited", "gated") as client:
        call = client.infer_async({"x": array(first)})
        held = overloaded.gate.hold()
        with raw_connection(overloaded.server.rest) as connection:
            send_by_hand(connection, late, header="X-Request-Timeout-Ms: 20")
            send_by_hand(connection, last, "other:free")
            assert read_raw_reply(connection).status == 504
            reply = read_raw_reply(connection)
            assert (reply.status, reply.text) == (200, f'{{"instances":[{{"y":{2 * last}}}]}}')
        held.release()
        assert int(call.result()[0]["y"]) == 2 * first


def test_a_lost_worker_loses_no_place(overloaded: Overloaded) -> None:
    values = overloaded.new_values(MOST.requests)
    assert post(overloaded, 1, "limited:free").status == 200  # a worker that has served is started again
    with Client(overloaded.server.grpc, "limited", "gated") as client:
        calls = [client.infer_async({"x": array(value)}) for value in values]
        held = overloaded.gate.hold()
        wait_until(overloaded.is_full, "all places are taken")
        with overloaded.gate.let_all_pass():
            kill(held.pid)
            held.release()
            assert [int(call.result()[0]["y"]) for call in calls] == [2 * value for value in values]
    asyncio.run(fill(overloaded, "limited", ONE, exceeded("requests", MOST.requests, "limited")))


@pytest.mark.parametrize("value", ["", "0", "-5", "soon", "1e3", "86400001"])
def test_a_time_that_is_none_is_refused(overloaded: Overloaded, value: str) -> None:
    reply = post(overloaded, 1, "other:free", X_Request_Timeout_Ms=value)
    assert (reply.status, reply.error) == (
        400,
        "Header X-Request-Timeout-Ms should be a number of milliseconds above 0 and at most 86400000, "
        f"but got {value!r}",
    )


def test_a_request_with_time_enough_is_answered(overloaded: Overloaded) -> None:
    for _ in range(3):
        reply = post(overloaded, 21, "other:free", x_request_timeout_ms="60000")
        assert (reply.status, reply.text) == (200, '{"instances":[{"y":42.0}]}')
