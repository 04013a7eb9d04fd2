"""Tensors that are in shared memory: where their parameters say that they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mindspore_serving.errors import InvalidInput, excerpt
from mindspore_serving.server.dialect.open_inference.messages import InputTensor, OutputTensor, Parameter
from mindspore_serving.server.dialect.open_inference.shared_memory import (
    MOST_PART_BYTES,
    Peer,
    RegionPart,
    SharedMemoryRegions,
)

REGION: Final = "shared_memory_region"
_SIZE: Final = "shared_memory_byte_size"
_OFFSET: Final = "shared_memory_offset"
_MOST: Final = (1 << 63) - 1


class UnknownPeer:
    """A client of which nothing is known."""

    def peer_is_own_user(self) -> bool:
        """Whether it may use shared memory: it may not."""
        return False


class SharedData:
    """The shared memory that one request may use, in a `with` block: what it reserves stays there meanwhile.

    Args:
        regions: Those that clients have registered.
        peer: Whose request it is.
    """

    __slots__ = ("_outputs", "_peer", "_regions", "_room")

    def __init__(self, regions: SharedMemoryRegions, peer: Peer) -> None:
        self._regions = regions
        self._peer = peer
        self._outputs: dict[str, RegionPart] = {}
        self._room = MOST_PART_BYTES

    def __enter__(self) -> SharedData:
        return self

    def __exit__(self, *_: object) -> None:
        for part in self._outputs.values():
            part.close()
        self._regions.forget_read(MOST_PART_BYTES - self._room)
        self._room = MOST_PART_BYTES

    async def read(self, tensor: InputTensor) -> memoryview:
        """The data of an input that has none in the request.

        Raises:
            ServingError: It is in no shared memory that the client may use, or the inputs are too large together.
        """
        what = f"Input '{excerpt(tensor.name)}'"
        if REGION not in tensor.parameters:
            raise InvalidInput(f"{what} has no data")
        with self._open(what, tensor.parameters) as part:
            if part.byte_size > self._room:
                raise InvalidInput(
                    f"The inputs of a request may have {MOST_PART_BYTES} bytes in shared memory together, which "
                    f"{what} goes beyond"
                )
            self._regions.count_read(part.byte_size)
            self._room -= part.byte_size
            return await part.read()

    def reserve(self, name: str, parameters: Mapping[str, Parameter]) -> None:
        """Keep the place of an output, and check that it can be written, as far as that is known before.

        Args:
            name: Of the output.
            parameters: As they were sent, `REGION` among them.

        Raises:
            ServingError: It is to be written to no shared memory that the client may use.
        """
        self._outputs[name] = self._open(f"Output '{name}'", parameters)

    async def write(self, tensor: OutputTensor, parameters: Mapping[str, Parameter]) -> None:
        """Write an output to the shared memory that was reserved for it, so that it leaves the reply.

        Args:
            tensor: The output.
            parameters: As they were sent, `REGION` among them.

        Raises:
            ServingError: The shared memory is too small.
        """
        data = tensor.data or b""
        await self._outputs[tensor.name].write(data)
        tensor.data = None
        tensor.parameters = {
            REGION: parameters[REGION],
            _OFFSET: parameters.get(_OFFSET, 0),
            _SIZE: len(data),
        }

    def _open(self, what: str, parameters: Mapping[str, Parameter]) -> RegionPart:
        region = parameters[REGION]
        if type(region) is not str:
            raise InvalidInput(f"{what}: {REGION} should be the name of a region, but is {_quoted(region)}")
        if _SIZE not in parameters:
            raise InvalidInput(f"{what} is in shared memory, but has no parameter {_SIZE}")
        size = _number(what, _SIZE, parameters[_SIZE])
        offset = _number(what, _OFFSET, parameters.get(_OFFSET, 0))
        return self._regions.open(region, offset, size, self._peer)


def _number(what: str, name: str, value: Parameter) -> int:
    if type(value) is not int or not 0 <= value <= _MOST:
        raise InvalidInput(f"{what}: {name} should be a whole number from 0 on, but is {_quoted(value)}")
    return value


def _quoted(value: object) -> str:
    return excerpt(repr(value))
