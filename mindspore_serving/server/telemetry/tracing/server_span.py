"""The span of a call, as transports tell of it: its name and attributes are those of OpenTelemetry's conventions.

They are the conventions for servers of HTTP and of RPC, where there is a name for it; all else is called `serving.*`.
"""

from __future__ import annotations

from typing import Final

from opentelemetry.semconv.attributes.client_attributes import CLIENT_ADDRESS
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.attributes.http_attributes import (
    HTTP_REQUEST_METHOD,
    HTTP_REQUEST_METHOD_ORIGINAL,
    HTTP_RESPONSE_STATUS_CODE,
    HTTP_ROUTE,
)
from opentelemetry.semconv.attributes.url_attributes import URL_PATH, URL_SCHEME
from opentelemetry.trace.status import Status

from mindspore_serving.errors import Outcome, shortened
from mindspore_serving.server.telemetry.tracing.call_trace import (
    FAILED_INSTANCES,
    FAULTS,
    INSTANCES,
    METHOD,
    OUTCOME,
    SERVABLE,
    VERSION,
)
from mindspore_serving.server.telemetry.tracing.spans import LONGEST_VALUE, UNSET, failed
from mindspore_serving.server.transport.grpc_routes import GrpcStatus
from mindspore_serving.server.transport.observers import EndedCall

# Names that the conventions have, and whose Python constants may still move.
RPC_SYSTEM_NAME: Final = "rpc.system.name"
RPC_METHOD: Final = "rpc.method"
RPC_RESPONSE_STATUS_CODE: Final = "rpc.response.status_code"
REQUEST_BODY_SIZE: Final = "http.request.body.size"
RESPONSE_BODY_SIZE: Final = "http.response.body.size"
_OTHER = "_OTHER"
_VERBS = frozenset(("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"))
_FAULTS_OF_GRPC = frozenset(
    (
        GrpcStatus.UNKNOWN,
        GrpcStatus.DEADLINE_EXCEEDED,
        GrpcStatus.UNIMPLEMENTED,
        GrpcStatus.INTERNAL,
        GrpcStatus.UNAVAILABLE,
        GrpcStatus.DATA_LOSS,
    )
)
_LOWEST_FAULT_OF_HTTP = 500


def name_of(ended: EndedCall) -> str:
    """The name of the span of a call: nothing in it is chosen by the client."""
    if ended.transport == "grpc":
        return ended.route.lstrip("/") or "grpc"
    verb = _verb_of(ended)
    verb = "HTTP" if verb == _OTHER else verb
    return f"{verb} {ended.route}" if ended.route else verb


def attributes_of(ended: EndedCall) -> dict[str, str | int | float | bool]:
    """What is known of a call."""
    attributes = _of_grpc(ended) if ended.transport == "grpc" else _of_http(ended)
    attributes[CLIENT_ADDRESS] = ended.peer
    attributes["serving.dialect"] = ended.dialect
    if ended.request_id:
        attributes["serving.request_id"] = ended.request_id
    if ended.key_name:
        attributes["serving.key_name"] = ended.key_name
    if ended.instances:
        attributes[INSTANCES] = ended.instances
    if ended.failed_instances:
        attributes[FAILED_INSTANCES] = ended.failed_instances
    if ended.call.requests:
        counter = ended.call.requests[0].counter
        attributes |= {SERVABLE: counter.servable, VERSION: counter.version, METHOD: counter.method}
    outcome = _outcome_of(ended)
    if outcome is not Outcome.OK:
        attributes[OUTCOME] = outcome.value
    error = _error_type_of(ended, outcome)
    if error:
        attributes[ERROR_TYPE] = error
    return attributes


def status_of(ended: EndedCall) -> Status:
    """Whether a call has failed, through no fault of its client."""
    return failed(ended.error) if _error_type_of(ended, _outcome_of(ended)) else UNSET


def _of_http(ended: EndedCall) -> dict[str, str | int | float | bool]:
    verb, _, path = ended.target.partition(" ")
    attributes: dict[str, str | int | float | bool] = {
        HTTP_REQUEST_METHOD: _verb_of(ended),
        HTTP_RESPONSE_STATUS_CODE: ended.status,
        URL_PATH: shortened(path, LONGEST_VALUE),
        URL_SCHEME: "https" if ended.secure else "http",
        REQUEST_BODY_SIZE: ended.bytes_in,
        RESPONSE_BODY_SIZE: ended.bytes_out,
    }
    if attributes[HTTP_REQUEST_METHOD] == _OTHER:
        attributes[HTTP_REQUEST_METHOD_ORIGINAL] = shortened(verb, LONGEST_VALUE)
    if ended.route:
        attributes[HTTP_ROUTE] = ended.route
    return attributes


def _of_grpc(ended: EndedCall) -> dict[str, str | int | float | bool]:
    return {
        RPC_SYSTEM_NAME: "grpc",
        RPC_METHOD: ended.route.lstrip("/") or _OTHER,
        RPC_RESPONSE_STATUS_CODE: _grpc_name(ended.status),
    }


def _verb_of(ended: EndedCall) -> str:
    verb = ended.target.partition(" ")[0]
    return verb if verb in _VERBS else _OTHER


def _grpc_name(status: int) -> str:
    return (
        GrpcStatus(status).name
        if status in GrpcStatus.__members__.values()
        else "OK"
        if not status
        else str(status)
    )


def _outcome_of(ended: EndedCall) -> Outcome:
    """What became of the first request of a call that has failed; OK where none has, or none was admitted."""
    for request in ended.call.requests:
        if request.ended and request.outcome is not Outcome.OK:
            return request.outcome
    return Outcome.OK


def _error_type_of(ended: EndedCall, outcome: Outcome) -> str:
    """What kind of error a call has met that is no fault of its client; "" for none.

    A dialect may tell of failed instances in a reply whose status is that of success.
    """
    if ended.transport == "grpc" and ended.status:
        return _grpc_name(ended.status) if ended.status in _FAULTS_OF_GRPC else ""
    if ended.transport != "grpc" and ended.status >= _LOWEST_FAULT_OF_HTTP:
        return str(ended.status)
    return outcome.value if outcome in FAULTS else ""
