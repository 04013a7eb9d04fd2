"""What a protocol is to a verb: it writes instances as requests, and reads replies as results.

| name | is |
|---|---|
| `native` | the protocol of MindSpore Serving: `/model/NAME:METHOD` over REST, `MSService/Predict` over gRPC |
| `oip` | the Open Inference Protocol of Triton, KServe and MLServer, in JSON over REST, in raw bytes over gRPC |
| `oip-binary` | the same over REST, the tensors' bytes after the JSON |
| `v1` | `/v1/models/NAME:predict` of TensorFlow Serving and KServe |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from mindspore_serving.cli.asking.method import Method
from mindspore_serving.cli.asking.session import WireReply, WireRequest
from mindspore_serving.cli.errors import CommandError
from mindspore_serving.cli.exit_codes import REFUSED, USAGE
from mindspore_serving.tensor import Array

Value: TypeAlias = "Array | str | bytes"
Instance: TypeAlias = "Mapping[str, Value]"
Result: TypeAlias = "dict[str, Any]"
"""Output to value; or `{"error": text}`."""
NAMES = ("native", "oip", "oip-binary", "v1")


class Wire(Protocol):
    """One protocol over one transport."""

    def requests(self, method: Method, instances: Sequence[Instance]) -> list[WireRequest]:
        """Write instances as requests, in order.

        Args:
            method: What is asked.
            instances: At least one.

        Raises:
            CommandError: The protocol cannot carry them.
        """
        ...

    def results(self, method: Method, reply: WireReply) -> list[Result]:
        """Read the reply to one request.

        Args:
            method: What was asked.
            reply: As it came.

        Raises:
            CommandError: The server refused the request, or the reply cannot be read.
        """
        ...


def wire_of(protocol: str, over: str) -> Wire:
    """A protocol by its name.

    Args:
        protocol: One of `NAMES`.
        over: `rest` or `grpc`.

    Raises:
        CommandError: There is no such protocol, or not over this transport.
    """
    from mindspore_serving.cli.asking import native, open_inference, predict_v1

    wires: dict[tuple[str, str], Wire] = {
        ("native", "rest"): native.NativeRest(),
        ("native", "grpc"): native.NativeGrpc(),
        ("oip", "rest"): open_inference.OpenInferenceRest(binary=False),
        ("oip-binary", "rest"): open_inference.OpenInferenceRest(binary=True),
        ("oip", "grpc"): open_inference.OpenInferenceGrpc(),
        ("v1", "rest"): predict_v1.PredictV1(),
    }
    wire = wires.get((protocol, over))
    if wire is None:
        offered = ", ".join(name for name, transport in wires if transport == over)
        raise CommandError(f"Protocol '{protocol}' is not one of {over}: expected {offered}", exit_code=USAGE)
    return wire


def refused(method: Method, reply: WireReply, text: str) -> CommandError:
    """The server has answered with an error.

    Args:
        method: What was asked.
        reply: What came.
        text: What the server says.
    """
    if reply.status in ("401", "UNAUTHENTICATED"):
        step = "Give a key with --api-key KEY, --api-key @FILE, or the variable SERVING_API_KEY."
    elif reply.status in ("404", "NOT_FOUND"):
        step = "`mindspore-serving models list` says what the server serves."
    elif reply.status in ("429", "503", "RESOURCE_EXHAUSTED", "UNAVAILABLE"):
        step = "Try again later: the server is overloaded or not ready."
    else:
        step = ""
    return CommandError(f"The server refused {method.model} ({reply.status}): {text}", step, REFUSED)


def unreadable(method: Method, why: object) -> CommandError:
    """The reply is not what the protocol has."""
    return CommandError(
        f"The reply for {method.model} cannot be read: {why}",
        "Is it another protocol? See --protocol.",
        REFUSED,
    )
