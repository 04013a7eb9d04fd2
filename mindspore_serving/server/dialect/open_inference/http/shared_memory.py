"""Shared memory of clients over HTTP: how regions are registered, listed and forgotten."""

from __future__ import annotations

from typing import Any, Final

import orjson

from mindspore_serving.errors import InvalidInput, excerpt
from mindspore_serving.json_text import load_json
from mindspore_serving.rows import Rows
from mindspore_serving.server.dialect.open_inference.shared_memory import SharedMemoryRegions
from mindspore_serving.server.transport.http_routes import (
    BodyContent,
    BodyFormat,
    HttpReply,
    HttpRequest,
    Route,
)

_MOST_BODY_BYTES = 1 << 16
_SYSTEM = "/v2/systemsharedmemory"
_CUDA = "/v2/cudasharedmemory"
_ONE = "/region/{region}"
_DONE: Final = HttpReply(200, b"", "")
_NO_ROWS: Final[list[Rows]] = []


def read_region(body: bytes, argument: Any) -> BodyContent:
    """The body of a registration: an object.

    Args:
        body: JSON.
        argument: Not used.

    Raises:
        InvalidInput: It is something else.
        MemoryError: There is no memory to read it.
    """
    try:
        document = load_json(body)
    except orjson.JSONDecodeError as cause:
        raise InvalidInput(f"failed to parse the request JSON: {cause}") from cause
    if not isinstance(document, dict):
        raise InvalidInput("The body should be a JSON object with 'key', 'offset' and 'byte_size'")
    return BodyContent(_NO_ROWS, document)


REGION: Final = BodyFormat(read_region)


class SharedMemoryRest:
    """Answers requests for regions.

    Args:
        regions: Those of the server.

    Attributes:
        routes: What it answers.
    """

    def __init__(self, regions: SharedMemoryRegions) -> None:
        self._regions = regions
        limit = _MOST_BODY_BYTES
        self.routes = (
            Route(("GET",), f"{_SYSTEM}/status", self.status, most_bytes=limit),
            Route(("GET",), f"{_SYSTEM}{_ONE}/status", self.status, most_bytes=limit),
            Route(("POST",), f"{_SYSTEM}{_ONE}/register", self.register, most_bytes=limit),
            Route(("POST",), f"{_SYSTEM}/unregister", self.unregister, most_bytes=limit),
            Route(("POST",), f"{_SYSTEM}{_ONE}/unregister", self.unregister, most_bytes=limit),
            Route(("GET",), f"{_CUDA}/status", self.refuse_cuda, most_bytes=limit),
            Route(("GET",), f"{_CUDA}{_ONE}/status", self.refuse_cuda, most_bytes=limit),
            Route(("POST",), f"{_CUDA}{_ONE}/register", self.refuse_cuda, most_bytes=limit),
            Route(("POST",), f"{_CUDA}/unregister", self.refuse_cuda, most_bytes=limit),
            Route(("POST",), f"{_CUDA}{_ONE}/unregister", self.refuse_cuda, most_bytes=limit),
        )

    async def status(self, request: HttpRequest) -> HttpReply:
        """Tell of one region, or of all.

        Raises:
            ServingError: As `SharedMemoryRegions.status`.
        """
        found = self._regions.status(request.parts.get("region", ""), request)
        return HttpReply(200, orjson.dumps(found))

    async def register(self, request: HttpRequest) -> HttpReply:
        """Register a region.

        Raises:
            ServingError: The body is not what it should be, or as `SharedMemoryRegions.register`.
        """
        region = (await request.read(REGION)).rest
        self._regions.register(
            request.parts["region"],
            _key_of(region),
            _number_of(region, "offset", 0),
            _number_of(region, "byte_size"),
            request,
        )
        return _DONE

    async def unregister(self, request: HttpRequest) -> HttpReply:
        """Forget one region, or all.

        Raises:
            ServingError: As `SharedMemoryRegions.unregister`.
        """
        self._regions.unregister(request.parts.get("region", ""), request)
        return _DONE

    async def refuse_cuda(self, request: HttpRequest) -> HttpReply:
        """Refuse what asks for shared memory of CUDA devices.

        Raises:
            ServingError: Always.
        """
        self._regions.refuse_cuda(request)


def _key_of(region: dict[str, Any]) -> str:
    key = region.get("key")
    if not isinstance(key, str):
        raise InvalidInput(f"'key' should be the name of a shared memory as a string, but got {_shown(key)}")
    return key


def _number_of(region: dict[str, Any], name: str, default: int | None = None) -> int:
    number = region.get(name, default)
    if type(number) is not int:
        raise InvalidInput(f"'{name}' should be a number of bytes, but got {_shown(number)}")
    return number


def _shown(value: Any) -> str:
    return "nothing" if value is None else excerpt(orjson.dumps(value).decode())
