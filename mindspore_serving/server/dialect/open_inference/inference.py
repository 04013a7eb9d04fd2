"""The core of the dialect: a request for inference to its reply, whichever transport it came by.

request -> target -> instances (views of what was sent) -> dispatcher -> outcome -> output tensors (views)
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Final, cast

from mindspore_serving.errors import InvalidInput, ServingError
from mindspore_serving.rows import Reply, Rows, failures_in
from mindspore_serving.server.dialect.open_inference.errors import RowsFailed
from mindspore_serving.server.dialect.open_inference.inputs import SharedInputs, instances_of
from mindspore_serving.server.dialect.open_inference.messages import (
    InferReply,
    InferRequest,
    OutputTensor,
    Parameter,
)
from mindspore_serving.server.dialect.open_inference.outputs import (
    WantedOutput,
    empty_tensors,
    tensors_of,
    wanted_outputs,
)
from mindspore_serving.server.dialect.open_inference.parameters import options_of, sooner
from mindspore_serving.server.dialect.open_inference.shared_data import REGION, Regions, open_part
from mindspore_serving.server.dialect.open_inference.target import Targets
from mindspore_serving.server.dispatch.destination import Destination
from mindspore_serving.server.dispatch.dispatcher import Admission
from mindspore_serving.server.service.service import Service

_LARGE_REPLY_BYTES: Final = 1 << 16


class Inference:
    """Answers requests for inference.

    Args:
        service: What runs them.
        regions: Shared memory of clients; None where the server takes none.
    """

    def __init__(self, service: Service, regions: Regions | None = None) -> None:
        self._dispatcher = service.dispatcher
        self._targets = Targets(service)
        self._regions = regions

    def check_room(self, model: str, version: str) -> Destination:
        """Refuse a request before its tensors are read, which may cost more than all the rest.

        Args:
            model: Name of the model.
            version: As it was sent; "" for the newest one that is ready.

        Returns:
            Where it goes, unless its parameters say another method.

        Raises:
            UnknownTarget: There is no such model or version.
            ServableUnavailable: It is not ready.
            ServerStopping: The server drains.
            QueueFull: Too many requests are pending.
        """
        destination = self._targets.destination(model, version)
        self._dispatcher.check_room(destination)
        return destination

    def reading(self, destination: Destination) -> AbstractContextManager[Admission]:
        """Admit a request whose tensors are yet to be read; as `Dispatcher.reading`, which see."""
        return self._dispatcher.reading(destination)

    def writing(self, request: InferRequest, reply: InferReply) -> AbstractContextManager[None]:
        """Keep an answered request pending while its reply is being written, where that takes long."""
        if sum([len(tensor.data or b"") for tensor in reply.outputs]) <= _LARGE_REPLY_BYTES:
            return nullcontext()
        try:
            return self._dispatcher.writing(self._targets.destination(request.model, request.version))
        except ServingError:  # which it has been answered by is gone meanwhile
            return nullcontext()

    async def infer(
        self,
        request: InferRequest,
        *,
        timeout_s: float | None = None,
        peer: str = "?",
        admission: Admission | None = None,
    ) -> InferReply:
        """Answer a request. Cancelling this abandons it.

        Args:
            request: It.
            timeout_s: Seconds until the reply, as the transport knows; None for no limit.
            peer: Address of the client.
            admission: The place of a request that is pending already, while its tensors were read.

        Raises:
            UnknownTarget: There is no such model, version or method.
            ServableUnavailable: It is not ready.
            ServerStopping: The server drains.
            QueueFull: Too much is pending.
            RowsFailed: A row has no result.
            InvalidInput: The request is not what the method takes, or no tensor can hold an output.
        """
        options = options_of(request.parameters)
        destination = self._targets.destination(request.model, request.version, options.method)
        method = destination.method
        wanted = wanted_outputs(request.outputs, method)
        with ExitStack() as parts:
            instances = await instances_of(request.inputs, method, SharedInputs(self._regions, peer, parts))
            if not instances.count:
                return self._reply(request, destination, empty_tensors(method, wanted), wanted, peer)
            outcome = self._admit(
                destination,
                instances,
                admission,
                sooner(options.timeout_s, timeout_s),
                options.priority,
                options.others or None,
            )
            reply = await outcome
        if failures_in(reply):
            raise RowsFailed(reply)
        tensors = await tensors_of(cast("list[Rows]", reply), method, wanted)
        return self._reply(request, destination, tensors, wanted, peer)

    def _admit(
        self,
        destination: Destination,
        instances: Rows,
        admission: Admission | None,
        timeout_s: float | None,
        priority: int,
        parameters: Mapping[str, Parameter] | None,
    ) -> asyncio.Future[Reply]:
        """Queue the instances; as `Dispatcher.admit`, which see."""
        if admission is not None and admission.destination.method.name == destination.method.name:
            return admission.admit([instances], timeout_s, priority=priority, parameters=parameters)
        return self._dispatcher.admit(
            destination, [instances], timeout_s, priority=priority, parameters=parameters
        )

    def _reply(
        self,
        request: InferRequest,
        destination: Destination,
        tensors: Sequence[OutputTensor],
        wanted: Sequence[WantedOutput],
        peer: str,
    ) -> InferReply:
        """The reply with its outputs, of which those leave it that go to shared memory.

        Raises:
            ServingError: There is no such shared memory, or it is too small.
        """
        for tensor, output in zip(tensors, wanted, strict=True):
            if REGION in output.parameters:
                self._share(tensor, output, peer)
        version = str(destination.servable.version)
        return InferReply(request.model, version, request.id, tensors)

    def _share(self, tensor: OutputTensor, output: WantedOutput, peer: str) -> None:
        what = f"Output '{tensor.name}'"
        data = tensor.data or b""
        with open_part(self._regions, what, output.parameters, peer) as part:
            if len(part.view) < len(data):
                raise InvalidInput(
                    f"{what} has {len(data)} bytes, but its part of the shared memory only {len(part.view)}"
                )
            part.view[: len(data)] = data
        tensor.data = None
        tensor.parameters = {
            name: value for name, value in output.parameters.items() if name.startswith("shared_memory_")
        } | {"shared_memory_byte_size": len(data)}
