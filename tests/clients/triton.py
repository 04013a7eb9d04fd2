"""The four clients of tritonclient, unmodified, behind one way to call them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType, TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from tests.support.serving import RunningServer

Array = npt.NDArray[Any]

KINDS = ("http", "http.aio", "grpc", "grpc.aio")
_MODULES: Mapping[str, ModuleType] = {
    "http": tritonclient.http,
    "http.aio": tritonclient.http.aio,
    "grpc": tritonclient.grpc,
    "grpc.aio": tritonclient.grpc.aio,
}

INVALID = ("400", "StatusCode.INVALID_ARGUMENT")
NOT_FOUND = ("404", "StatusCode.NOT_FOUND")
FAILED = ("500", "StatusCode.INTERNAL")
NOT_SUPPORTED = ("501", "StatusCode.UNIMPLEMENTED")
TOO_LATE = ("504", "StatusCode.DEADLINE_EXCEEDED")


class Triton:
    """One client.

    Args:
        kind: One of `KINDS`.
        server: Whom it asks.
        options: Further arguments of the client's constructor.

    Attributes:
        http: Whether it speaks HTTP, not gRPC.
        module: Where its classes of tensors are.
    """

    def __init__(self, kind: str, server: RunningServer, **options: Any) -> None:
        self.http = kind.startswith("http")
        self.module = tritonclient.http if self.http else tritonclient.grpc
        self._loop = asyncio.new_event_loop()
        self._client: Any = self.run(
            _made(_MODULES[kind], server.rest if self.http else server.grpc, options)
        )

    def run(self, coroutine: Any) -> Any:
        """Run a coroutine in the loop of the client."""
        return self._loop.run_until_complete(coroutine)

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of the client, and wait for what it returns."""
        if options.get("headers"):  # the client adds its own to them
            options["headers"] = dict(options["headers"])
        returned = getattr(self._client, method)(*arguments, **options)
        return self.run(returned) if inspect.isawaitable(returned) else returned

    def input(self, name: str, value: Array, *, binary: bool = True, datatype: str = "") -> Any:
        """An input; `binary` makes a difference over HTTP only."""
        tensor = self.module.InferInput(name, list(value.shape), datatype or np_to_triton_dtype(value.dtype))
        return tensor.set_data_from_numpy(value, **({"binary_data": binary} if self.http else {}))

    def output(self, name: str, *, binary: bool = True, classes: int = 0) -> Any:
        """A requested output."""
        options = {"binary_data": binary} if self.http else {}
        return self.module.InferRequestedOutput(name, class_count=classes, **options)

    def infer(
        self,
        model: str,
        inputs: Mapping[str, Array] | Sequence[Any],
        *,
        binary: bool = True,
        outputs: Iterable[Any] | None = None,
        **options: Any,
    ) -> Any:
        """Ask for an inference.

        Args:
            model: Name of the model.
            inputs: Arrays by name, or inputs that were made before.
            binary: Whether arrays are sent as bytes where they may be JSON.
            outputs: Requested outputs; by default all.
            options: Further arguments of the client's method.
        """
        if isinstance(inputs, Mapping):
            inputs = [self.input(name, value, binary=binary) for name, value in inputs.items()]
        return self.call(
            "infer", model, list(inputs), outputs=None if outputs is None else list(outputs), **options
        )

    def refused(self, statuses: tuple[str, str], model: str, inputs: Any, **options: Any) -> str:
        """Ask for what is refused with one of the statuses, of HTTP and of gRPC; returns the text of the error."""
        return self.call_refused(statuses, self.infer, model, inputs, **options)

    def call_refused(self, statuses: tuple[str, str], method: Any, *arguments: Any, **options: Any) -> str:
        """The same for any method of the client, by name, or any function."""
        try:
            if callable(method):
                method(*arguments, **options)
            else:
                self.call(method, *arguments, **options)
        except InferenceServerException as error:
            assert error.status() == statuses[0 if self.http else 1], error
            return str(error.message())
        raise AssertionError("it was not refused")

    def __enter__(self) -> Triton:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.call("close")
        self._loop.close()


async def _made(module: ModuleType, address: str, options: Mapping[str, Any]) -> Any:
    """Make a client where a loop runs, which those of asyncio need."""
    return module.InferenceServerClient(address, **options)


def plain(message: Any) -> Any:
    """A reply about the server or its models as HTTP has it, whichever client got it.

    Args:
        message: A document of HTTP, or a message of gRPC; of its fields, messages that are not set are left out.
    """
    if isinstance(message, (str, bytes, int, float, bool, dict, list)):
        return message
    document = {}
    for field in message.DESCRIPTOR.fields:
        if field.has_presence and not message.HasField(field.name):
            continue
        value = getattr(message, field.name)
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            document[field.name] = {key: plain(one) for key, one in value.items()}
        elif (isinstance(value, Sequence) and not isinstance(value, (str, bytes))) or hasattr(
            value, "append"
        ):
            document[field.name] = [plain(one) for one in value]
        elif field.enum_type is not None:
            document[field.name] = field.enum_type.values_by_number[value].name
        else:
            document[field.name] = plain(value)
    return document


def texts(*items: str | bytes) -> Array:
    """A tensor of texts or bytes, one to a row."""
    return np.array(items, dtype=np.object_)
