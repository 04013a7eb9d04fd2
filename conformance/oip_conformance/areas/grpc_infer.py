"""gRPC: inference."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc

from oip_conformance import sources
from oip_conformance.areas.grpc_refused import expect_refused
from oip_conformance.check import Area, Skip, Tier, expect
from oip_conformance.messages import new, parameter
from oip_conformance.rpc import expect_ok
from oip_conformance.server import Server, message_outputs_of, outputs_of, rpc_outputs_of
from oip_conformance.tensors import BINARY_ONLY, DATATYPES, expect_same, to_bytes

AREA = Area("gRPC: inference", "grpc")

_CONCURRENT = 8


@AREA.check(
    "grpc.infer.raw",
    Tier.REQUIRED,
    "Tensors may be raw: bytes in the order of the inputs.",
    sources.GRPC_INFER,
)
def raw(server: Server) -> None:
    """An inference with raw contents succeeds."""
    found = rpc_outputs_of(server.infer_raw(server.inputs(anyway=True)))
    expect_same("the reply", found, server.reference())


@AREA.check(
    "grpc.infer.typed",
    Tier.REQUIRED,
    "Tensors may be in the typed field of their datatype.",
    sources.GRPC_DATA,
)
def typed(server: Server) -> None:
    """Typed contents give the reply of raw contents."""
    expect_same("the reply", rpc_outputs_of(server.infer_typed(server.inputs())), server.reference())


@AREA.check(
    "grpc.infer.rest", Tier.REQUIRED, "gRPC follows the concepts of REST.", sources.GRPC_API, transport="both"
)
def rest(server: Server) -> None:
    """REST and gRPC give the same outputs."""
    inputs = server.inputs(salt=2)
    if any(tensor.datatype in BINARY_ONLY for tensor in inputs):
        raise Skip("needs inputs that have a JSON form")
    server.reference()
    expect_same("gRPC", rpc_outputs_of(server.infer_raw(inputs)), outputs_of(server.infer_json(inputs)))


@AREA.check("grpc.infer.fields", Tier.REQUIRED, "The reply has the model's name.", sources.GRPC_INFER)
def fields(server: Server) -> None:
    """The reply has model_name."""
    found = expect_ok(server.infer_raw(server.inputs()))
    expect(found.model_name == server.model, f"model_name {server.model!r}", found.model_name)


@AREA.check("grpc.infer.id", Tier.REQUIRED, "The id of the request is in the reply.", sources.GRPC_INFER)
def request_id(server: Server) -> None:
    """The id comes back."""
    text = "oip-\u4e2d-\U0001f600"
    found = expect_ok(server.infer_raw(server.inputs(), id=text))
    expect(found.id == text, f"id {text!r}", repr(found.id))


@AREA.check("grpc.infer.outputs", Tier.REQUIRED, "Without a choice all outputs come.", sources.GRPC_INFER)
def outputs(server: Server) -> None:
    """The reply has all outputs of the metadata, in datatype and rank."""
    found = rpc_outputs_of(server.infer_raw(server.inputs()))
    wanted = {spec.name: (spec.datatype, len(spec.shape)) for spec in server.specs("outputs")}
    got = {name: (tensor.datatype, len(tensor.shape)) for name, tensor in found.items()}
    expect(got == wanted, str(wanted), got)


@AREA.check(
    "grpc.infer.one_output", Tier.REQUIRED, "outputs names the outputs that come.", sources.GRPC_INFER
)
def one_output(server: Server) -> None:
    """Only the requested output is returned."""
    for spec in server.specs("outputs"):
        asked = [new("RequestedOutput", name=spec.name)]
        found = rpc_outputs_of(server.infer_raw(server.inputs(), outputs=asked))
        expect(list(found) == [spec.name], f"only {spec.name!r}", list(found))


@AREA.check(
    "grpc.infer.version", Tier.REQUIRED, "A version may be named; the reply names it.", sources.GRPC_INFER
)
def version(server: Server) -> None:
    """An inference of a named version succeeds, and the reply names it."""
    asked = server.versions()[0]
    found = expect_ok(server.infer_raw(server.inputs(), version=asked))
    expect(found.model_version == asked, f"model_version {asked!r}", repr(found.model_version))


@AREA.check(
    "grpc.infer.order", Tier.REQUIRED, "Raw contents are in the order of the inputs.", sources.GRPC_INFER
)
def order(server: Server) -> None:
    """The order of the inputs does not matter."""
    inputs = server.inputs()
    if len(inputs) < 2:
        raise Skip(f"needs a model with two inputs; {server.model!r} has one")
    expect_same("the reply", rpc_outputs_of(server.infer_raw(inputs[::-1])), server.reference())


@AREA.check("grpc.infer.parameters", Tier.REQUIRED, "A request may have parameters.", sources.GRPC_PARAMETERS)
def parameters(server: Server) -> None:
    """Parameters of request, inputs and outputs are accepted."""
    given = {"oip_text": "a", "oip_number": 2, "oip_flag": True}
    request = server.infer_request(server.inputs(), parameters=given)
    for tensor in request.inputs:
        tensor.parameters["oip_text"].CopyFrom(parameter("a"))
    for spec in server.specs("outputs"):
        request.outputs.add(name=spec.name)
    expect_same("the reply", rpc_outputs_of(server.rpc.call("ModelInfer", request)), server.reference())


@AREA.check(
    "grpc.infer.one_form",
    Tier.REQUIRED,
    "With raw_output_contents no output has contents, and there is one entry for each output.",
    sources.GRPC_INFER,
)
def one_form(server: Server) -> None:
    """Outputs are raw or typed, not both."""
    for typed_request in (False, True):
        inputs = server.inputs()
        if typed_request and any(not DATATYPES[each.datatype].contents for each in inputs):
            continue
        call = server.infer_typed if typed_request else server.infer_raw
        found = expect_ok(call(inputs))
        if found.raw_output_contents:
            both = [each.name for each in found.outputs if each.contents.ByteSize()]
            expect(not both, "no contents beside raw contents", both)
        message_outputs_of(found)


@AREA.check(
    "grpc.infer.raw_reply",
    Tier.TRITON,
    "Triton answers with raw contents always, and its clients read only these.",
    sources.TRITON_RAW,
)
def raw_reply(server: Server) -> None:
    """Outputs are raw, also for a typed request."""
    for call in (server.infer_raw, server.infer_typed):
        found = expect_ok(call(server.inputs()))
        got = len(found.raw_output_contents)
        expect(got == len(found.outputs), f"{len(found.outputs)} raw_output_contents", got)


@AREA.check("grpc.infer.rows", Tier.REQUIRED, "Shape and contents hold the whole batch.", sources.GRPC_INFER)
def rows(server: Server) -> None:
    """A batch of 3 rows gives outputs of 3 rows, those of each row alone."""
    inputs = server.inputs(rows=3)
    batch = rpc_outputs_of(server.infer_raw(inputs))
    for row in range(3):
        alone = rpc_outputs_of(
            server.infer_raw([each.with_array(each.array[row : row + 1]) for each in inputs])
        )
        expected = {name: each.with_array(each.array[row : row + 1]) for name, each in batch.items()}
        expect_same(f"row {row} alone", alone, expected)


@AREA.check(
    "grpc.infer.large", Tier.TRITON, "gRPC's limit of 4 MiB for a message is lifted.", sources.TRITON_CLIENT
)
def large(server: Server) -> None:
    """A request of 8 MiB is answered."""
    model, inputs = server.large_inputs(8 << 20)
    found = rpc_outputs_of(server.infer_raw(inputs, model=model))
    names = {spec.name for spec in server.specs("outputs", model)}
    expect(set(found) == names, f"the outputs {sorted(names)}", sorted(found))


@AREA.check(
    "grpc.infer.gzip", Tier.TRITON, "A request may be compressed with gzip.", sources.GRPC_COMPRESSION
)
def gzip(server: Server) -> None:
    """A compressed request is answered like another."""
    request = server.infer_request(server.inputs())
    reply = server.rpc.call("ModelInfer", request, compression=grpc.Compression.Gzip)
    expect_same("the reply", rpc_outputs_of(reply), server.reference())


@AREA.check(
    "grpc.infer.concurrent", Tier.REQUIRED, "The id of the request is in the reply.", sources.GRPC_INFER
)
def concurrent(server: Server) -> None:
    """Requests sent at once get their own replies, by id and by values."""
    sets = [server.inputs(salt=salt) for salt in range(_CONCURRENT)]
    server.reference()
    expected = [rpc_outputs_of(server.infer_raw(inputs)) for inputs in sets]
    with ThreadPoolExecutor(_CONCURRENT) as threads:
        calls = [
            threads.submit(server.infer_raw, inputs, id=f"oip-{place % _CONCURRENT}")
            for place, inputs in enumerate(sets * 4)
        ]
        replies = [call.result() for call in calls]
    for place, reply in enumerate(replies):
        message = expect_ok(reply)
        expect(
            message.id == f"oip-{place % _CONCURRENT}", f"id 'oip-{place % _CONCURRENT}'", repr(message.id)
        )
        expect_same("a concurrent reply", message_outputs_of(message), expected[place % _CONCURRENT])


@AREA.check(
    "grpc.infer.zero_size",
    Tier.REQUIRED,
    "A tensor may have no elements; a model may still refuse it.",
    sources.GRPC_INFER,
    hostile=True,
)
def zero_size(server: Server) -> None:
    """A tensor of no elements is answered, or refused."""
    inputs = server.inputs(rows=0)
    expect(all(not to_bytes(each) for each in inputs), "no bytes", inputs)
    reply = server.infer_raw(inputs)
    if reply.ok:
        found = rpc_outputs_of(reply)
        expect(all(0 in tensor.shape for tensor in found.values()), "outputs of no elements", found)
    else:
        expect_refused(reply)


@AREA.check(
    "grpc.infer.cancel",
    Tier.REQUIRED,
    "A call whose deadline has passed ends; others are not touched.",
    sources.GRPC_CODES,
    hostile=True,
)
def deadline(server: Server) -> None:
    """Calls with a deadline of a millisecond harm no others."""
    request = server.infer_request(server.inputs())
    for _ in range(20):
        reply = server.rpc.call("ModelInfer", request, timeout_s=0.001)
        legal = reply.code.name in ("OK", "DEADLINE_EXCEEDED", "CANCELLED", "UNAVAILABLE")
        expect(legal, "OK or DEADLINE_EXCEEDED", reply)
