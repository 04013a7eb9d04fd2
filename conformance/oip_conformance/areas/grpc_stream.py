"""gRPC: streams of inferences."""

from __future__ import annotations

from typing import Any

from oip_conformance import sources
from oip_conformance.check import Area, Deviation, NoReply, NotOffered, Skip, Tier, expect
from oip_conformance.rpc import StreamUnimplemented
from oip_conformance.server import Server, message_outputs_of
from oip_conformance.tensors import expect_same

AREA = Area("gRPC: streams", "grpc")

_WRAPPED = "ModelStreamInfer answers each request with error_message, or with infer_response."
_METHOD = "ModelStreamInfer"
_MOST_REPLIES = 1000


def _needs_wrapped(server: Server) -> None:
    """Go on only where the first check of streams passes: what it finds is said once.

    Raises:
        Skip: It does not.
    """

    def look() -> str:
        try:
            one(server)
        except (Deviation, NoReply) as error:
            return str(error)
        return ""

    found = server.remembered("wrapped", look)
    if found:
        raise Skip(f"needs a server on which stream.one passes: {found[:120]}")


def _reply(stream: Any) -> Any:
    try:
        found = stream.read()
    except StreamUnimplemented as error:
        raise NotOffered(f"UNIMPLEMENTED {error}") from error
    if found is None:
        raise Deviation("a reply", "the end of the stream")
    return found


def _response(stream: Any) -> Any:
    found = _reply(stream)
    expect(not found.error_message, "infer_response", f"error_message {found.error_message!r}")
    expect(found.HasField("infer_response"), "infer_response", found)
    return found.infer_response


@AREA.check("stream.one", Tier.TRITON, _WRAPPED, sources.TRITON_PROTO)
def one(server: Server) -> None:
    """A request in a stream is answered, and the stream ends when the client ends it."""
    with server.rpc.stream(_METHOD) as stream:
        stream.send(server.infer_request(server.inputs(), id="oip-1"))
        found = _response(stream)
        expect(found.id == "oip-1", "id 'oip-1'", found.id)
        expect_same("the reply", message_outputs_of(found), server.reference())
        stream.end()
        last = stream.read()
        expect(last is None, "the end of the stream", last)


@AREA.check("stream.several", Tier.TRITON, _WRAPPED, sources.TRITON_PROTO)
def several(server: Server) -> None:
    """Requests sent at once are answered each with its id and values."""
    _needs_wrapped(server)
    server.reference()
    sets = {f"oip-{salt}": server.inputs(salt=salt) for salt in range(6)}
    with server.rpc.stream(_METHOD) as stream:
        for name, inputs in sets.items():
            stream.send(server.infer_request(inputs, id=name))
        found = {}
        for _ in sets:
            reply = _response(stream)
            found[reply.id] = message_outputs_of(reply)
    expect(set(found) == set(sets), f"the ids {sorted(sets)}", sorted(found))
    for name, inputs in sets.items():
        expect_same(f"the reply {name}", found[name], server.infer(inputs))


@AREA.check("stream.later", Tier.TRITON, _WRAPPED, sources.TRITON_PROTO)
def later(server: Server) -> None:
    """A request is answered before the client ends the stream, and so is the next one."""
    _needs_wrapped(server)
    with server.rpc.stream(_METHOD) as stream:
        for name in ("oip-1", "oip-2"):
            stream.send(server.infer_request(server.inputs(), id=name))
            found = _response(stream)
            expect(found.id == name, f"id {name!r}", found.id)


@AREA.check(
    "stream.error",
    Tier.TRITON,
    "A request that fails is answered with error_message; the stream goes on.",
    sources.TRITON_PROTO,
    hostile=True,
)
def error(server: Server) -> None:
    """An error of one request does not end the stream."""
    _needs_wrapped(server)
    with server.rpc.stream(_METHOD) as stream:
        stream.send(
            server.infer_request(server.inputs(), model="oip-conformance-no-such-model", id="oip-bad")
        )
        found = _reply(stream)
        expect(bool(found.error_message), "error_message", found)
        stream.send(server.infer_request(server.inputs(), id="oip-good"))
        reply = _response(stream)
        expect(reply.id == "oip-good", "id 'oip-good'", reply.id)


@AREA.check(
    "stream.malformed",
    Tier.TRITON,
    "A request that fails is answered with error_message; the stream goes on.",
    sources.TRITON_PROTO,
    hostile=True,
)
def malformed(server: Server) -> None:
    """A malformed request between two good ones is answered with error_message."""
    _needs_wrapped(server)
    bad = server.infer_request(server.inputs(), id="oip-bad")
    bad.raw_input_contents[0] = b"\0"
    with server.rpc.stream(_METHOD) as stream:
        stream.send(server.infer_request(server.inputs(), id="oip-1"))
        stream.send(bad)
        stream.send(server.infer_request(server.inputs(), id="oip-2"))
        replies = [_reply(stream) for _ in range(3)]
    failed = [each for each in replies if each.error_message]
    expect(len(failed) == 1, "one error_message in three replies", replies)
    ids = {each.infer_response.id for each in replies if not each.error_message}
    expect(ids == {"oip-1", "oip-2"}, "replies oip-1 and oip-2", sorted(ids))


@AREA.check("stream.empty", Tier.TRITON, "A stream without requests has no replies.", sources.TRITON_PROTO)
def empty(server: Server) -> None:
    """A stream without requests ends with OK."""
    _needs_wrapped(server)
    with server.rpc.stream(_METHOD) as stream:
        stream.end()
        try:
            found = stream.read()
        except StreamUnimplemented as error:
            raise NotOffered(f"UNIMPLEMENTED {error}") from error
        expect(found is None, "the end of the stream", found)


@AREA.check(
    "stream.final",
    Tier.TRITON,
    "With triton_enable_empty_final_response the last reply has the parameter triton_final_response true.",
    sources.TRITON_PARAMETERS,
)
def final(server: Server) -> None:
    """The last reply of a request is marked when the request asks for it."""
    _needs_wrapped(server)
    request = server.infer_request(server.inputs(), parameters={"triton_enable_empty_final_response": True})
    with server.rpc.stream(_METHOD) as stream:
        stream.send(request)
        stream.end()
        marks: list[bool] = []
        while (found := stream.read()) is not None:
            expect(len(marks) < _MOST_REPLIES, f"at most {_MOST_REPLIES} replies", "more")
            parameters = found.infer_response.parameters
            marks.append(
                "triton_final_response" in parameters and parameters["triton_final_response"].bool_param
            )
    expect(
        bool(marks) and marks[-1] and not any(marks[:-1]),
        "triton_final_response true in the last reply",
        marks,
    )


@AREA.check(
    "stream.gone",
    Tier.TRITON,
    "A client may go away in the middle of a stream; nobody else notices.",
    sources.TRITON_PROTO,
    hostile=True,
)
def gone(server: Server) -> None:
    """A stream that is cancelled with requests in flight harms no others."""
    _needs_wrapped(server)
    for _ in range(3):
        with server.rpc.stream(_METHOD) as stream:
            for place in range(5):
                stream.send(server.infer_request(server.inputs(), id=f"oip-{place}"))
            _response(stream)
