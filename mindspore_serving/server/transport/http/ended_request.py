"""What observers are told of a request of HTTP."""

from __future__ import annotations

from mindspore_serving.server.dispatch.client_call import ClientCall
from mindspore_serving.server.service.error_text import text_for_client
from mindspore_serving.server.transport.http.target import path_of
from mindspore_serving.server.transport.http_routes import HttpReply, HttpRequest, Route
from mindspore_serving.server.transport.observers import GONE, EndedCall, instances_of
from mindspore_serving.server.transport.request_id import ID_FIELD, ID_HEADER, usable_id

_CLIENT_GONE = "The client has gone"


def answered_request(
    call: ClientCall, now: float, dialect: str, route: Route | None, request: HttpRequest, reply: HttpReply
) -> EndedCall:
    """A request that was answered, or refused.

    Args:
        call: Of the request.
        now: The time.
        dialect: Name of the dialect that answered.
        route: What answered; None where nothing of a dialect did.
        request: What was asked.
        reply: The reply.
    """
    ended = _ended(call, now, dialect, route, request, reply.status)
    ended.bytes_out = 0 if request.verb == "HEAD" else len(reply.body)
    ended.request_id = next((value for name, value in reply.headers if name == ID_HEADER), "")
    failures = reply.failures
    if failures:
        ended.error = text_for_client(failures[0].failure)
    ended.instances, ended.failed_instances = instances_of(call, reply.instance_count, failures)
    return ended


def left_request(
    call: ClientCall, now: float, dialect: str, route: Route | None, request: HttpRequest
) -> EndedCall:
    """A request whose client has gone; arguments as of `answered_request`."""
    ended = _ended(call, now, dialect, route, request, GONE)
    ended.error = _CLIENT_GONE
    ended.instances = ended.failed_instances = sum(one.count for one in call.requests)
    return ended


def _ended(
    call: ClientCall, now: float, dialect: str, route: Route | None, request: HttpRequest, status: int
) -> EndedCall:
    return EndedCall(
        call=call,
        ended=now,
        transport="http",
        dialect=dialect,
        target=f"{request.verb} {path_of(request.target)}" if request.verb else "",
        status=status,
        request_id=usable_id(request.headers.get(ID_FIELD, "")),
        peer=request.peer,
        key_name=request.key_name,
        bytes_in=len(request.body),
        bytes_out=0,
        instances=0,
        failed_instances=0,
        error="",
        route=route.pattern if route is not None else "",
        probe=route is not None and route.probe,
    )
