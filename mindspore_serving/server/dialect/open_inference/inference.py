"""The core of the dialect: a request for inference to its reply, whichever transport it came by.

request -> target -> instances (views of what was sent) -> dispatcher -> outcome -> output tensors (views)
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Final, cast

from mindspore_serving.errors import ServingError
from mindspore_serving.rows import Rows, failures_in
from mindspore_serving.server.dialect.open_inference.inputs import instances_of
from mindspore_serving.server.dialect.open_inference.messages import (
    LISTING,
    InferReply,
    InferRequest,
)
from mindspore_serving.server.dialect.open_inference.outputs import (
    empty_tensors,
    tensors_of,
    wanted_outputs,
)
from mindspore_serving.server.dialect.open_inference.parameters import Options, options_of, sooner
from mindspore_serving.server.dialect.open_inference.shared_data import REGION, SharedData, UnknownPeer
from mindspore_serving.server.dialect.open_inference.shared_memory import Peer, SharedMemoryRegions
from mindspore_serving.server.dispatch.admission import Admission
from mindspore_serving.server.dispatch.destination import Destination
from mindspore_serving.server.service.failed_rows import RowsFailed
from mindspore_serving.server.service.service import Service
from mindspore_serving.server.service.targets import Targets

_LARGE_REPLY_BYTES: Final = 1 << 16
_UNKNOWN_PEER: Final = UnknownPeer()


class Inference:
    """Answers requests for inference.

    Args:
        service: What runs them.
        regions: Shared memory of clients.
    """

    def __init__(self, service: Service, regions: SharedMemoryRegions) -> None:
        self._dispatcher = service.dispatcher
        self._targets = Targets(service, LISTING)
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
        destination = self.destination(model, version)
        self._dispatcher.check_room(destination)
        return destination

    def destination(self, model: str, version: str) -> Destination:
        """Where a request goes, whether there is room for it or not; otherwise as `check_room`."""
        return self._targets.destination(model, version)

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
        peer: Peer = _UNKNOWN_PEER,
        admission: Admission | None = None,
    ) -> InferReply:
        """Answer a request. Cancelling this abandons it.

        Args:
            request: It.
            timeout_s: Seconds until the reply, as the transport knows; None for no limit.
            peer: Who asks: the request of HTTP, or the call of gRPC.
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
        with SharedData(self._regions, peer) as shared:
            for output in wanted:
                if REGION in output.parameters:
                    shared.reserve(output.name, output.parameters)
            instances = await instances_of(request.inputs, method, shared)
            if instances.count:
                blocks = await self.outcome(
                    destination, instances, options, sooner(options.timeout_s, timeout_s), admission
                )
                tensors = await tensors_of(blocks, method, wanted)
            else:
                tensors = empty_tensors(method, wanted)
            for tensor, output in zip(tensors, wanted, strict=True):
                if REGION in output.parameters:
                    await shared.write(tensor, output.parameters)
            return InferReply(request.model, str(destination.servable.version), request.id, tensors)

    async def outcome(
        self,
        destination: Destination,
        instances: Rows,
        options: Options,
        timeout_s: float | None,
        admission: Admission | None = None,
    ) -> list[Rows]:
        """The results of instances, which may be of several batches.

        Args:
            destination: Where they go.
            instances: At least one.
            options: What the parameters of their request say.
            timeout_s: Seconds until the reply; None for no limit.
            admission: As of `infer`.

        Raises:
            ServingError: As `Dispatcher.admit`.
            RowsFailed: An instance has no result.
        """
        if admission is not None and admission.destination.method.name == destination.method.name:
            outcome = admission.admit(
                [instances], timeout_s, priority=options.priority, parameters=options.others or None
            )
        else:
            outcome = self._dispatcher.admit(
                destination,
                [instances],
                timeout_s,
                priority=options.priority,
                parameters=options.others or None,
            )
        reply = await outcome
        if failures_in(reply):
            raise RowsFailed(reply)
        return cast("list[Rows]", reply)
