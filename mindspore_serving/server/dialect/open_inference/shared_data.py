"""Tensors that are in shared memory: where their parameters say that they are."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Final, Protocol

from mindspore_serving.errors import InvalidInput, excerpt
from mindspore_serving.server.dialect.open_inference.messages import Parameter

REGION: Final = "shared_memory_region"
_SIZE: Final = "shared_memory_byte_size"
_OFFSET: Final = "shared_memory_offset"
_MOST: Final = (1 << 63) - 1


class RegionPart(Protocol):
    """Bytes of a region that are in use.

    Attributes:
        view: The bytes.
    """

    view: memoryview


class Regions(Protocol):
    """The regions that clients have registered."""

    def open(self, region: str, offset: int, byte_size: int, peer: str) -> AbstractContextManager[RegionPart]:
        """Use a part of a region, which stays until the context is left.

        Args:
            region: Its name.
            offset: Where the part begins.
            byte_size: Its bytes.
            peer: Address of the client.

        Raises:
            ServingError: There is no such part, or the client may not use it.
        """


def open_part(
    regions: Regions | None, what: str, parameters: Mapping[str, Parameter], peer: str
) -> AbstractContextManager[RegionPart]:
    """The part of a region that a tensor is in, or is to be.

    Args:
        regions: Those that are registered; None where the server takes none.
        what: The tensor, for errors.
        parameters: Of the tensor; `REGION` is among them.
        peer: Address of the client.

    Raises:
        ServingError: There is no such part, or the client may not use it.
    """
    region = parameters[REGION]
    if type(region) is not str or not region:
        raise InvalidInput(f"{what}: {REGION} should be the name of a region, but is {excerpt(repr(region))}")
    if regions is None:
        raise InvalidInput(
            f"{what} is in shared memory region '{excerpt(region)}', but this server takes no shared memory of clients"
        )
    if _SIZE not in parameters:
        raise InvalidInput(f"{what} is in shared memory, but has no parameter {_SIZE}")
    size = _number(what, _SIZE, parameters[_SIZE])
    return regions.open(region, _number(what, _OFFSET, parameters.get(_OFFSET, 0)), size, peer)


def _number(what: str, name: str, value: Parameter) -> int:
    if type(value) is not int or not 0 <= value <= _MOST:
        raise InvalidInput(
            f"{what}: {name} should be a whole number from 0 on, but is {excerpt(repr(value))}"
        )
    return value
