"""What the server uses of gRPC's C core: `grpc._cython.cygrpc`, on which grpcio's own blocking server is written.

It is no public interface (ADR 49). So it is imported nowhere else, and what is used of it is listed here, and looked at
before a server stands on it.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]

# It logs each name and each value of a client that is no UTF-8, with a trace: whoever likes could fill the log.
logging.getLogger("grpc._cython.cygrpc").addFilter(lambda record: "Invalid encoding" not in str(record.msg))
core: Final[Any] = cygrpc
"""The module itself; its stub says nothing about it."""

_METHODS: Final[Mapping[str, tuple[str, ...]]] = {
    "CompletionQueue.poll": ("self", "deadline"),
    "CompletionQueue.shutdown": ("self",),
    "Server.add_http2_port": ("self", "address", "server_credentials"),
    "Server.cancel_all_calls": ("self",),
    "Server.destroy": ("self",),
    "Server.register_completion_queue": ("self", "queue"),
    "Server.request_call": ("self", "call_queue", "server_queue", "tag"),
    "Server.shutdown": ("self", "queue", "tag"),
    "Server.start": ("self", "backup_queue"),
    "Call.cancel": ("self", "error_code", "details"),
    "Call.peer": ("self",),
    "Call.start_server_batch": ("self", "operations", "tag"),
    "ReceiveMessageOperation.message": ("self",),
    "ReceiveCloseOnServerOperation.cancelled": ("self",),
    "auth_context": ("call",),
}
"""Functions, and the names of their parameters in order."""
_ATTRIBUTES: Final = (
    "CallDetails.deadline",
    "CallDetails.method",
    "RequestCallEvent.call",
    "RequestCallEvent.call_details",
    "RequestCallEvent.completion_type",
    "RequestCallEvent.invocation_metadata",
    "RequestCallEvent.success",
    "RequestCallEvent.tag",
    "BatchOperationEvent.batch_operations",
    "BatchOperationEvent.success",
    "BatchOperationEvent.tag",
    "ServerShutdownEvent.tag",
    "ConnectivityEvent.completion_type",
    "CompletionType.operation_complete",
    "CompletionType.queue_shutdown",
    "CompletionType.queue_timeout",
)
_MADE: Final[Mapping[str, Callable[[], Any]]] = {
    "ReceiveCloseOnServerOperation(0)": lambda: core.ReceiveCloseOnServerOperation(0),
    "ReceiveMessageOperation(0)": lambda: core.ReceiveMessageOperation(0),
    "SendInitialMetadataOperation((), 0)": lambda: core.SendInitialMetadataOperation((), 0),
    "SendMessageOperation(b'', 0)": lambda: core.SendMessageOperation(b"", 0),
    "SendStatusFromServerOperation((), 0, b'', 0)": lambda: core.SendStatusFromServerOperation((), 0, b"", 0),
    "grpc.ServerCredentials._credentials": lambda: credentials_of(grpc.local_server_credentials()),
}
"""What is made as the server makes it: constructors do not tell their parameters."""


def surface_fault() -> str | None:
    """What of the surface is not as the server needs it, for the log; None where all is."""
    for name, expected in _METHODS.items():
        try:
            found = tuple(inspect.signature(_found(name)).parameters)
        except (AttributeError, TypeError, ValueError) as error:
            return f"{name}: {error}"
        if found != expected:
            return f"{name} takes ({', '.join(found)}), expected ({', '.join(expected)})"
    for name in _ATTRIBUTES:
        try:
            _found(name)
        except AttributeError as error:
            return f"{name}: {error}"
    for name, make in _MADE.items():
        try:
            make()
        except Exception as error:  # whatever another grpcio raises, there is a way back
            return f"{name}: {error!r}"
    return None


def credentials_of(credentials: grpc.ServerCredentials) -> Any:
    """The core's own credentials in those of grpcio."""
    return credentials._credentials  # type: ignore[attr-defined]


def _found(name: str) -> Any:
    found = core
    for part in name.split("."):
        found = getattr(found, part)
    return found
