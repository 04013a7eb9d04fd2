"""Calls a server in three ways, in turn: `python -m benchmarks.python_client_process ADDRESS SERVABLE METHOD`.

The ways, each with a channel of its own that has the options of the client's:

- `bytes`: the bytes of a request, ready to be sent, by a bare call of gRPC; the reply is left as bytes;
- `stub`: the generated stub. Each call makes a message of NumPy arrays, and arrays of the reply;
- `client`: `Client.infer`.

It takes one JSON object a line, `{"instances": N, "seconds": S}`, and answers each with a `Measured`. CPU time is the
user and system time of all threads of the process.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import grpc
import numpy as np

from benchmarks.messages import GRPC_PATH, Instances
from mindspore_serving.client import Client
from mindspore_serving.client.python.connection import CHANNEL_OPTIONS
from mindspore_serving.client.python.proxy import route_to
from mindspore_serving.proto import ms_service_pb2, ms_service_pb2_grpc

_CALLS = 20
"""Of one way, before it is the turn of the next one: few, so that what else the machine does meets all ways."""
_SEED = 20
_WARM_UP_CALLS = 100
_FLOAT32 = np.dtype(np.float32)


class Measured(NamedTuple):
    """One turn.

    Attributes:
        cpu_us: Microseconds of CPU time of a call, by way: the median, which a burst of other work does not move.
        checked: Replies that were looked at.
        wrong: Those that were not right.
    """

    cpu_us: dict[str, float]
    checked: int
    wrong: int


class Ways:
    """The calls of a method that returns its first input as `y`.

    Args:
        address: `host:port`.
        servable: Name of the servable.
        method: Name of the method.
        instances: Instances of a request.
    """

    def __init__(self, address: str, servable: str, method: str, instances: int) -> None:
        self._names = {"name": servable, "method_name": method}
        self._instances = [
            {"x1": np.full((2, 2), i, np.float32), "x2": np.ones((2, 2), np.float32)}
            for i in range(instances)
        ]
        options = CHANNEL_OPTIONS + route_to(address).options
        self._channels = [grpc.insecure_channel(address, options) for _ in range(2)]
        self._send = self._channels[0].unary_unary(GRPC_PATH)
        self._stub = ms_service_pb2_grpc.MSServiceStub(self._channels[1])
        self._client = Client(address, servable, method)
        self._body = _request_of(self._names, self._instances).SerializeToString()
        self.calls: dict[str, Callable[[], Any]] = {
            "bytes": lambda: self._send(self._body),
            "stub": lambda: _arrays_of(self._stub.Predict(_request_of(self._names, self._instances))),
            "client": lambda: self._client.infer(self._instances),
        }

    def is_right(self, reply: Any) -> bool:
        """Whether a reply, in whatever form a way gives it, holds the first inputs."""
        if isinstance(reply, bytes):
            reply = _arrays_of(ms_service_pb2.PredictReply.FromString(reply))
        if not isinstance(reply, list) or len(reply) != len(self._instances):
            return False
        return all(
            one.keys() == {"y"} and one["y"].dtype == _FLOAT32 and np.array_equal(one["y"], asked["x1"])
            for one, asked in zip(reply, self._instances, strict=True)
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        for channel in self._channels:
            channel.close()


def _request_of(names: dict[str, str], instances: Instances) -> ms_service_pb2.PredictRequest:
    """What the bare stub sends, in no more steps than the generated classes ask for."""
    request = ms_service_pb2.PredictRequest(servable_spec=names)
    add = request.instances.add
    for instance in instances:
        items = add().items
        for name, array in instance.items():
            tensor = items[name]
            tensor.dtype = ms_service_pb2.MS_FLOAT32
            tensor.shape.dims.extend(array.shape)
            tensor.data = array.tobytes()
    return request


def _arrays_of(reply: ms_service_pb2.PredictReply) -> list[dict[str, Any]]:
    """What is read of a reply to the bare stub; none of an error."""
    return [
        {
            name: np.frombuffer(tensor.data, _FLOAT32).reshape(tensor.shape.dims)
            for name, tensor in instance.items.items()
        }
        for instance in reply.instances
    ]


def measure(
    calls: Mapping[str, Callable[[], Any]], is_right: Callable[[Any], bool], seconds: float
) -> Measured:
    """Call in all ways in turn, in an order that changes, and look at every reply.

    Args:
        calls: The ways by name.
        is_right: Judges a reply.
        seconds: For how long.
    """
    order = random.Random(_SEED)
    spent: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    checked = wrong = 0
    end = time.monotonic() + seconds
    while not checked or time.monotonic() < end:
        order.shuffle(names)
        for name in names:
            call = calls[name]
            begin = time.process_time()
            replies = [call() for _ in range(_CALLS)]
            spent[name].append(1e6 * (time.process_time() - begin) / _CALLS)
            checked += len(replies)
            wrong += sum(not is_right(reply) for reply in replies)
    return Measured({name: statistics.median(cost) for name, cost in spent.items()}, checked, wrong)


def main() -> None:
    """Answer until the input ends."""
    address, servable, method = sys.argv[1:]
    known: dict[int, Ways] = {}
    for line in sys.stdin:
        request = json.loads(line)
        instances = request["instances"]
        if instances not in known:
            known[instances] = Ways(address, servable, method, instances)
            for call in known[instances].calls.values():
                for _ in range(_WARM_UP_CALLS):
                    call()
        ways = known[instances]
        print(json.dumps(measure(ways.calls, ways.is_right, request["seconds"])._asdict()), flush=True)
    for ways in known.values():
        ways.close()


if __name__ == "__main__":
    main()
