"""REST: binary tensors."""

from __future__ import annotations

from typing import Any

from oip_conformance import sources
from oip_conformance.check import Area, NotOffered, Skip, Tier, expect
from oip_conformance.rest import HEADER_LENGTH, JSON_TYPE, Reply
from oip_conformance.server import Server, binary_request, framed, outputs_of, split_reply
from oip_conformance.tensors import BINARY_ONLY, expect_same, json_input, to_bytes

AREA = Area("REST: binary tensors", "http")

EXTENSION = "binary_tensor_data"
_BINARY_TYPE = "application/octet-stream"


def needs_binary(server: Server) -> None:
    """Go on only when the server announces binary tensors, or takes them without a word.

    Raises:
        NotOffered: Neither.
    """
    if EXTENSION in server.extensions():
        return

    def look() -> bool:
        return server.infer_binary(server.inputs()).status == 200

    if not server.remembered("takes binary", look):
        raise NotOffered(f"{EXTENSION} is not announced, and a binary request is refused")


def post(server: Server, *, json_names: tuple[str, ...] = (), **fields: Any) -> Reply:
    """POST the model's inputs as binary."""
    needs_binary(server)
    body, headers = binary_request(server.inputs(), json_names=json_names, **fields)
    return server.rest.post(server.path("/infer"), body, headers)


def _expect_binary(reply: Reply, names: set[str]) -> None:
    found, _ = split_reply(reply)
    got = {each["name"] for each in found["outputs"] if "binary_data_size" in (each.get("parameters") or {})}
    expect(got == names, f"{sorted(names) or 'no output'} as binary", sorted(got) or "all as JSON")


def _outputs(server: Server) -> set[str]:
    return {spec.name for spec in server.specs("outputs")}


@AREA.check(
    "binary.input",
    Tier.TRITON,
    "Bytes of inputs follow the JSON, whose length is in a header.",
    sources.BINARY,
)
def binary_inputs(server: Server) -> None:
    """Binary inputs give the outputs of JSON inputs."""
    expect_same("the reply", outputs_of(post(server)), server.reference())


@AREA.check("binary.output", Tier.TRITON, "binary_data of an output asks for its bytes.", sources.BINARY)
def binary_output(server: Server) -> None:
    """An output with binary_data true comes as bytes."""
    names = _outputs(server)
    asked = [{"name": name, "parameters": {"binary_data": True}} for name in names]
    reply = post(server, outputs=asked)
    _expect_binary(reply, names)
    expect_same("the reply", outputs_of(reply), server.reference())


@AREA.check(
    "binary.all_outputs", Tier.TRITON, "binary_data_output asks for the bytes of all.", sources.BINARY
)
def all_outputs(server: Server) -> None:
    """With binary_data_output true all outputs come as bytes."""
    reply = post(server, parameters={"binary_data_output": True})
    _expect_binary(reply, _outputs(server))
    expect_same("the reply", outputs_of(reply), server.reference())


@AREA.check(
    "binary.override", Tier.TRITON, "binary_data of an output overrides binary_data_output.", sources.BINARY
)
def override(server: Server) -> None:
    """An output with binary_data false comes as JSON although all are asked as bytes."""
    names = sorted(_outputs(server))
    asked = [{"name": name, "parameters": {"binary_data": place > 0}} for place, name in enumerate(names)]
    reply = post(server, outputs=asked, parameters={"binary_data_output": True})
    _expect_binary(reply, set(names[1:]))
    expect_same("the reply", outputs_of(reply), server.reference())


@AREA.check("binary.from_json", Tier.TRITON, "Inputs as JSON, outputs as bytes.", sources.BINARY)
def output_from_json(server: Server) -> None:
    """JSON inputs with binary outputs."""
    needs_binary(server)
    inputs = server.inputs()
    if any(tensor.datatype in BINARY_ONLY for tensor in inputs):
        raise Skip("needs inputs that have a JSON form")
    reply = server.infer_json(inputs, parameters={"binary_data_output": True})
    _expect_binary(reply, _outputs(server))
    expect_same("the reply", outputs_of(reply), server.reference())


@AREA.check(
    "binary.not_asked", Tier.TRITON, "Not asked, outputs are JSON, without the header.", sources.BINARY
)
def not_asked(server: Server) -> None:
    """Outputs that are not asked as bytes come as JSON, without the length header."""
    reply = post(server)
    _expect_binary(reply, set())
    expect(HEADER_LENGTH.lower() not in reply.headers, f"no {HEADER_LENGTH}", dict(reply.headers))
    expect(reply.content_type == JSON_TYPE, JSON_TYPE, reply.headers.get("content-type"))


@AREA.check(
    "binary.header", Tier.TRITON, f"{HEADER_LENGTH} must be there when bytes follow the JSON.", sources.BINARY
)
def header(server: Server) -> None:
    """A binary reply has the length header, and sizes that add up to its length."""
    reply = post(server, parameters={"binary_data_output": True})
    expect(HEADER_LENGTH.lower() in reply.headers, HEADER_LENGTH, dict(reply.headers))
    outputs_of(reply)


@AREA.check(
    "binary.content_type",
    Tier.TRITON,
    "The example of a binary reply is application/octet-stream.",
    sources.BINARY,
)
def content_type(server: Server) -> None:
    """A binary reply has the content type application/octet-stream."""
    reply = post(server, parameters={"binary_data_output": True})
    _expect_binary(reply, _outputs(server))
    expect(reply.content_type == _BINARY_TYPE, _BINARY_TYPE, reply.headers.get("content-type"))


@AREA.check("binary.id", Tier.TRITON, "The id of the request is in the reply.", sources.INFER_REQUEST)
def request_id(server: Server) -> None:
    """The id comes back in a binary reply."""
    found, _ = split_reply(post(server, id="oip-43", parameters={"binary_data_output": True}))
    expect(found.get("id") == "oip-43", "id 'oip-43'", found.get("id"))


def _two_inputs(server: Server) -> list[str]:
    names = [tensor.name for tensor in server.inputs()]
    if len(names) < 2:
        raise Skip(f"needs a model with two inputs; {server.model!r} has one")
    return names


@AREA.check("binary.mixed", Tier.TRITON, "Some inputs may be JSON, others bytes.", sources.BINARY)
def mixed(server: Server) -> None:
    """Any one input may be JSON while the others are bytes."""
    for name in _two_inputs(server):
        expect_same("the reply", outputs_of(post(server, json_names=(name,))), server.reference())


@AREA.check("binary.order", Tier.TRITON, "Bytes are in the order of the inputs in the JSON.", sources.BINARY)
def order(server: Server) -> None:
    """Inputs in another order, with their bytes in that order, give the same outputs."""
    needs_binary(server)
    _two_inputs(server)
    body, headers = binary_request(server.inputs()[::-1])
    expect_same(
        "the reply", outputs_of(server.rest.post(server.path("/infer"), body, headers)), server.reference()
    )


@AREA.check(
    "binary.no_content_type", Tier.TRITON, "Triton's clients send no content type.", sources.TRITON_CLIENT
)
def no_content_type(server: Server) -> None:
    """A binary request without Content-Type is answered."""
    needs_binary(server)
    body, headers = binary_request(server.inputs())
    del headers["Content-Type"]
    expect_same(
        "the reply", outputs_of(server.rest.post(server.path("/infer"), body, headers)), server.reference()
    )


@AREA.check(
    "binary.json_only",
    Tier.TRITON,
    "The header gives the length of the JSON, also where nothing follows.",
    sources.BINARY,
)
def json_only(server: Server) -> None:
    """A request with the length header and no bytes is a JSON request."""
    needs_binary(server)
    inputs = server.inputs()
    if any(tensor.datatype in BINARY_ONLY for tensor in inputs):
        raise Skip("needs inputs that have a JSON form")
    body, headers = framed({"inputs": [json_input(tensor) for tensor in inputs]})
    expect_same(
        "the reply", outputs_of(server.rest.post(server.path("/infer"), body, headers)), server.reference()
    )


@AREA.check(
    "binary.raw_request",
    Tier.TRITON,
    "With a header length of 0 the whole body is the one input, of one row; outputs come as bytes.",
    sources.BINARY,
)
def raw_request(server: Server) -> None:
    """A body without JSON is the model's one input."""
    needs_binary(server)
    model = _raw_model(server)
    inputs = server.inputs(model, rows=1)
    reply = server.rest.post(server.path("/infer", model=model), to_bytes(inputs[0]), {HEADER_LENGTH: "0"})
    if reply.status != 200 and EXTENSION not in server.extensions():
        raise NotOffered("raw requests are refused")
    expect_same("the reply", outputs_of(reply), server.infer(inputs, model))


def _raw_model(server: Server) -> str:
    for model in server.models():
        specs = server.specs(model=model)
        if len(specs) == 1 and specs[0].datatype != "BYTES" and specs[0].shape[:1] == (-1,):
            return model
    raise Skip("needs a model with one input of numbers; give one with --also NAME")


@AREA.check("binary.large", Tier.TRITON, "Tensors are as large as the model takes them.", sources.BINARY)
def large(server: Server) -> None:
    """A binary request of 8 MiB is answered."""
    needs_binary(server)
    model, inputs = server.large_inputs(8 << 20)
    found = outputs_of(server.infer_binary(inputs, model=model))
    names = {spec.name for spec in server.specs("outputs", model)}
    expect(set(found) == names, f"the outputs {sorted(names)}", sorted(found))
