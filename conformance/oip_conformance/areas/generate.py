"""REST: generate, and streams of events."""

from __future__ import annotations

import json
from typing import Any

from oip_conformance import sources
from oip_conformance.areas.rest_infer import json_inputs
from oip_conformance.check import Area, NotOffered, Skip, Tier, expect
from oip_conformance.rest import JSON_TYPE, Reply, parse_json
from oip_conformance.server import Server, as_object, expect_error, offered, ok_json, outputs_of
from oip_conformance.tensors import expect_same, json_input, to_json

AREA = Area("REST: generate and streams", "http")

_EVENTS = "text/event-stream"
_SAYS = "Keys that are names of inputs become tensors; the reply has model_name, model_version and the outputs by name."
_STREAM = "The reply is text/event-stream; each event is data: and JSON."


def _body(server: Server) -> dict[str, Any]:
    inputs = json_inputs(server, rows=1)
    if any(len(tensor.shape) > 2 for tensor in inputs):
        raise Skip("needs a model whose inputs have at most 2 dimensions")
    return {
        tensor.name: to_json(tensor) if tensor.array.size > 1 else to_json(tensor)[0] for tensor in inputs
    }


def _post(server: Server, suffix: str, body: dict[str, Any]) -> Reply:
    """POST a good request.

    Raises:
        NotOffered: The path takes something else, and the extension is not announced.
    """
    reply = offered(server.rest.post_json(server.path(suffix), body))
    if reply.status != 200 and "generate" not in server.extensions():
        raise NotOffered(
            f"generate is not announced, and a good request is answered with status {reply.status}"
        )
    return reply


@AREA.check("generate.reply", Tier.TRITON, _SAYS, sources.GENERATE_REPLY)
def generate(server: Server) -> None:
    """POST of generate answers with the outputs by name."""
    found = as_object(ok_json(_post(server, "/generate", _body(server))), "the reply")
    expect(found.get("model_name") == server.model, f"model_name {server.model!r}", found.get("model_name"))
    expect("model_version" in found, "model_version", found)
    expected = server.infer(json_inputs(server, rows=1))
    for name, tensor in expected.items():
        values = found.get(name)
        listed = values if isinstance(values, list) else [values]
        wanted = to_json(tensor)
        expect(listed == wanted, f"{name} {wanted}", listed)


@AREA.check("generate.parameters", Tier.TRITON, "Other keys are parameters; id comes back.", sources.GENERATE)
def parameters(server: Server) -> None:
    """Keys that are no inputs are parameters, and the id comes back."""
    body = {**_body(server), "id": "oip-7", "temperature": 0.5, "parameters": {"top_p": 1}}
    found = as_object(ok_json(_post(server, "/generate", body)), "the reply")
    expect(found.get("id") == "oip-7", "id 'oip-7'", found.get("id"))


@AREA.check(
    "generate.missing",
    Tier.TRITON,
    "A failed request has an error status and object.",
    sources.GENERATE,
    hostile=True,
)
def missing(server: Server) -> None:
    """Generate without the inputs is refused with 4xx."""
    _post(server, "/generate", _body(server))
    expect_error(server.rest.post_json(server.path("/generate"), {}))


@AREA.check("generate.not_json", Tier.TRITON, "The body is an object.", sources.GENERATE, hostile=True)
def not_json(server: Server) -> None:
    """Generate with a body that is not JSON is refused with 4xx."""
    _post(server, "/generate", _body(server))
    expect_error(server.rest.post(server.path("/generate"), b"this is not JSON"))


def _events(reply: Reply) -> list[Any]:
    expect(reply.status == 200, "status 200", reply)
    expect(reply.content_type == _EVENTS, _EVENTS, reply.headers.get("content-type"))
    text = reply.body.decode("utf-8", "replace").replace("\r\n", "\n")
    blocks = [block for block in text.split("\n\n") if block.strip()]
    found = []
    for block in blocks:
        data = [line[5:].strip() for line in block.split("\n") if line.startswith("data:")]
        expect(bool(data), "a line data: in each event", repr(block[:200]))
        found.append(parse_json("\n".join(data).encode()))
    expect(bool(found), "one event or more", repr(text[:200]))
    return found


@AREA.check("generate.stream", Tier.TRITON, _STREAM, sources.GENERATE)
def generate_stream(server: Server) -> None:
    """POST of generate_stream answers with events that have the outputs."""
    first = as_object(_events(_post(server, "/generate_stream", _body(server)))[0], "an event")
    expect(first.get("model_name") == server.model, f"model_name {server.model!r}", first)
    for spec in server.specs("outputs"):
        expect(spec.name in first, f"the output {spec.name!r}", first)


@AREA.check(
    "generate.stream_refused",
    Tier.TRITON,
    "A request that fails before inference is answered with JSON and an error status.",
    sources.GENERATE,
    hostile=True,
)
def stream_refused(server: Server) -> None:
    """generate_stream without the inputs is refused with 4xx and JSON."""
    _post(server, "/generate_stream", _body(server))
    reply = server.rest.post_json(server.path("/generate_stream"), {})
    expect_error(reply)
    expect(reply.content_type == JSON_TYPE, JSON_TYPE, reply.headers.get("content-type"))


@AREA.check(
    "infer_stream.reply",
    Tier.MLSERVER,
    "infer_stream takes an inference request, and answers with events that are inference replies.",
    sources.MLSERVER_STREAM,
)
def infer_stream(server: Server) -> None:
    """POST of infer_stream answers with events that have the outputs of an inference."""
    request = {"id": "oip-8", "inputs": [json_input(tensor) for tensor in json_inputs(server)]}
    events = _events(offered(server.rest.post_json(server.path("/infer_stream"), request)))
    first = as_object(events[0], "an event")
    if len(events) == 1:
        reply = Reply(200, {}, json.dumps(first).encode())
        expect_same("the event", outputs_of(reply), server.reference())
    expect(first.get("model_name") == server.model, f"model_name {server.model!r}", first)


@AREA.check("infer_stream.id", Tier.MLSERVER, "The id of the request is in the reply.", sources.INFER_REQUEST)
def infer_stream_id(server: Server) -> None:
    """The id comes back in the events."""
    request = {"id": "oip-9", "inputs": [json_input(tensor) for tensor in json_inputs(server)]}
    for event in _events(offered(server.rest.post_json(server.path("/infer_stream"), request))):
        expect(event.get("id") == "oip-9", "id 'oip-9'", event)


@AREA.check(
    "infer_stream.refused",
    Tier.MLSERVER,
    "A failed inference has an error status and object, or an event that is the error object.",
    sources.INFER_ERROR,
    hostile=True,
)
def infer_stream_refused(server: Server) -> None:
    """infer_stream with a malformed request is refused with 4xx."""
    good = {"inputs": [json_input(tensor) for tensor in json_inputs(server)]}
    offered(server.rest.post_json(server.path("/infer_stream"), good))
    expect_error(server.rest.post_json(server.path("/infer_stream"), {"inputs": 5}))
