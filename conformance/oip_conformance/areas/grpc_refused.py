"""gRPC: malformed inferences. Each is refused with the status of a client's mistake, and the server goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from oip_conformance import sources
from oip_conformance.check import Area, Remark, Skip, Tier, expect
from oip_conformance.rpc import RpcReply
from oip_conformance.server import Server
from oip_conformance.tensors import DATATYPES, filled, to_bytes, typed_input

AREA = Area("gRPC: malformed requests", "grpc")

# Statuses that say: the mistake is the client's.
_CLIENTS_MISTAKE = (
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "OUT_OF_RANGE",
    "FAILED_PRECONDITION",
    "RESOURCE_EXHAUSTED",
    "UNIMPLEMENTED",
)
# Statuses that say: nobody has looked at the request.
_NOBODY = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED")
_REFUSED = "A failure is a status that is not OK; INVALID_ARGUMENT is that of a malformed request."


def expect_refused(reply: RpcReply) -> None:
    """Raise a deviation unless the status says that the mistake is the client's.

    Raises:
        Deviation: It is OK, or says that nobody is there.
        Remark: It is an error, but says that the server has failed.
    """
    expect(not reply.ok and reply.code.name not in _NOBODY, "INVALID_ARGUMENT", reply)
    expect(bool(reply.details), "a text with the status", reply)
    if reply.code.name not in _CLIENTS_MISTAKE:
        raise Remark("INVALID_ARGUMENT: the mistake is the client's", str(reply))


def _mistake(
    check_id: str,
    says: str,
    *,
    source: sources.Source = sources.GRPC_INFER,
    tier: Tier = Tier.REQUIRED,
    typed: bool = False,
) -> Callable[[Callable[[Any, Server], None]], Callable[[Any, Server], None]]:
    """Make a check of a function that changes a good request; its docstring is the title."""

    def collect(change: Callable[[Any, Server], None]) -> Callable[[Any, Server], None]:
        def run(server: Server) -> None:
            inputs = server.inputs()
            if typed and any(not DATATYPES[tensor.datatype].contents for tensor in inputs):
                raise Skip("needs inputs that have typed contents")
            request = server.infer_request(inputs, typed=typed)
            change(request, server)
            expect_refused(server.rpc.call("ModelInfer", request))

        title = (change.__doc__ or "").splitlines()[0].rstrip(".")
        AREA.add(f"refused.grpc.{check_id}", tier, title, f"{says} {_REFUSED}", source, run, hostile=True)
        return change

    return collect


_MODEL = "model_name is a model of the server."
_SHAPE = "The size of the contents is that of shape and datatype."
_RAW = "raw_input_contents has data for each input, in order; then no input has contents."
_TYPED = "Typed contents are in the field of their datatype, as many as the shape says."
_INPUTS = "The metadata lists the inputs that the model requires."
_TRITON = "Triton refuses what a model does not take."


@_mistake("model_unknown", _MODEL)
def _model_unknown(request: Any, _: Server) -> None:
    """An unknown model."""
    request.model_name = "oip-conformance-no-such-model"


@_mistake("model_empty", _MODEL)
def _model_empty(request: Any, _: Server) -> None:
    """No model."""
    request.model_name = ""


@_mistake("version_unknown", _MODEL)
def _version_unknown(request: Any, server: Server) -> None:
    """An unknown version."""
    server.versions()
    request.model_version = "987654"


@_mistake("no_inputs", _INPUTS, source=sources.MODEL_METADATA)
def _no_inputs(request: Any, _: Server) -> None:
    """No inputs."""
    del request.inputs[:]
    del request.raw_input_contents[:]


@_mistake("input_missing", _INPUTS, source=sources.MODEL_METADATA)
def _input_missing(request: Any, _: Server) -> None:
    """A request without one of the model's inputs."""
    del request.inputs[-1]
    del request.raw_input_contents[-1]


@_mistake("input_unknown", _INPUTS, source=sources.MODEL_METADATA)
def _input_unknown(request: Any, _: Server) -> None:
    """An input of another name in the place of a required one."""
    request.inputs[0].name = "oip-no-such-input"


@_mistake("input_no_name", "A tensor has a name.")
def _input_no_name(request: Any, _: Server) -> None:
    """An input without a name."""
    request.inputs[0].name = ""


@_mistake("input_twice", "A tensor is known by its name.")
def _input_twice(request: Any, _: Server) -> None:
    """An input that comes twice."""
    request.inputs.add().CopyFrom(request.inputs[0])
    request.raw_input_contents.append(request.raw_input_contents[0])


@_mistake("input_more", _TRITON, source=sources.TRITON_CODES, tier=Tier.TRITON)
def _input_more(request: Any, _: Server) -> None:
    """One input more than the model has."""
    request.inputs.add().CopyFrom(request.inputs[0])
    request.inputs[-1].name = "oip-no-such-input"
    request.raw_input_contents.append(request.raw_input_contents[0])


@_mistake("output_unknown", "outputs names outputs of the model.")
def _output_unknown(request: Any, _: Server) -> None:
    """A requested output that the model has not."""
    request.outputs.add(name="oip-no-such-output")


@_mistake("datatype_unknown", "datatype is one of the table.", source=sources.DATATYPES)
def _datatype_unknown(request: Any, _: Server) -> None:
    """An unknown datatype."""
    request.inputs[0].datatype = "FP31"


@_mistake("datatype_absent", "datatype is one of the table.", source=sources.DATATYPES)
def _datatype_absent(request: Any, _: Server) -> None:
    """An input without datatype."""
    request.inputs[0].datatype = ""


@_mistake("datatype_other", _TRITON, source=sources.TRITON_CODES, tier=Tier.TRITON)
def _datatype_other(request: Any, server: Server) -> None:
    """A datatype that the model's input has not."""
    first = server.inputs()[0]
    other = filled(first.name, "INT64" if first.datatype != "INT64" else "FP64", first.shape)
    request.inputs[0].datatype = other.datatype
    request.raw_input_contents[0] = to_bytes(other)


@_mistake("shape_negative", "A dimension is 0 or more.")
def _shape_negative(request: Any, _: Server) -> None:
    """Negative dimensions, whose product is right."""
    sizes = list(request.inputs[0].shape)
    if len(sizes) < 2:
        sizes = [*sizes, 1]
    request.inputs[0].shape[:] = [-sizes[0], -sizes[1], *sizes[2:]]


@_mistake("shape_overflow", _SHAPE)
def _shape_overflow(request: Any, _: Server) -> None:
    """A shape whose product is beyond 64 bits."""
    sizes = list(request.inputs[0].shape)
    request.inputs[0].shape[:] = [2**62 + 1, 4, *sizes[2:]]


@_mistake("shape_wraps", _SHAPE)
def _shape_wraps(request: Any, _: Server) -> None:
    """A shape whose product is right only after a 64-bit overflow."""
    count = 1
    for size in request.inputs[0].shape:
        count *= size
    inverse = pow(5, -1, 2**64) * count % 2**64
    request.inputs[0].shape[:] = [inverse if inverse < 2**63 else inverse - 2**63, 5]


@_mistake("shape_absent", _SHAPE)
def _shape_absent(request: Any, server: Server) -> None:
    """An input without a shape."""
    if len(server.inputs()[0].shape) == 0 or server.inputs()[0].array.size < 2:
        raise Skip("needs a model whose first input has several elements; give --shape")
    request.inputs[0].shape[:] = []


@_mistake("shape_more", _SHAPE)
def _shape_more(request: Any, _: Server) -> None:
    """A shape of more elements than there are."""
    request.inputs[0].shape[0] += 1


@_mistake("rank_other", _TRITON, source=sources.TRITON_CODES, tier=Tier.TRITON)
def _rank_other(request: Any, _: Server) -> None:
    """One dimension more than the model's input has."""
    request.inputs[0].shape.append(1)


@_mistake(
    "rows_differ",
    "Triton refuses inputs of different batch sizes.",
    source=sources.TRITON_CODES,
    tier=Tier.TRITON,
)
def _rows_differ(request: Any, server: Server) -> None:
    """Two inputs of 2 and of 3 rows."""
    if len(request.inputs) < 2:
        raise Skip(f"needs a model with two inputs; {server.model!r} has one")
    first, second = server.inputs(rows=2)[0], server.inputs(rows=3)[1]
    request.inputs[0].shape[:] = first.shape
    request.inputs[1].shape[:] = second.shape
    request.raw_input_contents[0] = to_bytes(first)
    request.raw_input_contents[1] = to_bytes(second)


@_mistake("raw_short", _SHAPE)
def _raw_short(request: Any, _: Server) -> None:
    """Raw contents that lack a byte."""
    request.raw_input_contents[0] = request.raw_input_contents[0][:-1]


@_mistake("raw_long", _SHAPE)
def _raw_long(request: Any, _: Server) -> None:
    """Raw contents with bytes too many."""
    request.raw_input_contents[0] += b"\0" * 8


@_mistake("raw_empty", _SHAPE)
def _raw_empty(request: Any, _: Server) -> None:
    """Empty raw contents."""
    request.raw_input_contents[0] = b""


@_mistake("raw_fewer", _RAW)
def _raw_fewer(request: Any, _: Server) -> None:
    """Fewer raw contents than inputs."""
    del request.raw_input_contents[-1]


@_mistake("raw_more", _RAW)
def _raw_more(request: Any, _: Server) -> None:
    """More raw contents than inputs."""
    request.raw_input_contents.append(request.raw_input_contents[0])


@_mistake("raw_and_typed", _RAW)
def _raw_and_typed(request: Any, server: Server) -> None:
    """Raw contents beside typed contents."""
    first = server.inputs()[0]
    if not DATATYPES[first.datatype].contents:
        raise Skip("needs a first input that has typed contents")
    request.inputs[0].CopyFrom(typed_input(first))


@_mistake("typed_fewer", _TYPED, source=sources.GRPC_DATA, typed=True)
def _typed_fewer(request: Any, server: Server) -> None:
    """Fewer typed elements than the shape says."""
    field = DATATYPES[server.inputs()[0].datatype].contents
    del getattr(request.inputs[0].contents, field)[-1]


@_mistake("typed_more", _TYPED, source=sources.GRPC_DATA, typed=True)
def _typed_more(request: Any, server: Server) -> None:
    """More typed elements than the shape says."""
    values = getattr(request.inputs[0].contents, DATATYPES[server.inputs()[0].datatype].contents)
    values.extend(list(values))


@_mistake("typed_other_field", _TYPED, source=sources.GRPC_DATA, typed=True)
def _typed_other_field(request: Any, server: Server) -> None:
    """Typed elements in the field of another datatype."""
    first = server.inputs()[0]
    field = DATATYPES[first.datatype].contents
    other = "bool_contents" if field != "bool_contents" else "bytes_contents"
    del getattr(request.inputs[0].contents, field)[:]
    values = [True] * first.array.size if other == "bool_contents" else [b"a"] * first.array.size
    getattr(request.inputs[0].contents, other).extend(values)


@_mistake("typed_two_fields", _TYPED, source=sources.GRPC_DATA, tier=Tier.TRITON, typed=True)
def _typed_two_fields(request: Any, server: Server) -> None:
    """Typed elements in two fields."""
    first = server.inputs()[0]
    other = "bool_contents" if DATATYPES[first.datatype].contents != "bool_contents" else "fp32_contents"
    getattr(request.inputs[0].contents, other).extend([True] * first.array.size)


@_mistake("contents_absent", "An input has contents, raw or typed.", source=sources.GRPC_DATA)
def _contents_absent(request: Any, _: Server) -> None:
    """No contents at all."""
    del request.raw_input_contents[:]


def _bad_elements(check_id: str, title: str, spoil: Callable[[bytes], bytes]) -> None:
    def run(server: Server) -> None:
        model = server.model_with("BYTES")
        request = server.infer_request(server.inputs(model), model=model)
        request.raw_input_contents[0] = spoil(request.raw_input_contents[0])
        expect_refused(server.rpc.call("ModelInfer", request))

    says = "A raw element of BYTES is a length of 4 bytes and so many bytes; there are as many as the shape says."
    AREA.add(
        f"refused.grpc.{check_id}",
        Tier.REQUIRED,
        title,
        f"{says} {_REFUSED}",
        sources.GRPC_INFER,
        run,
        hostile=True,
    )


_bad_elements(
    "bytes_length_beyond", "BYTES: a length beyond the data", lambda data: b"\xff\xff\xff\x7f" + data[4:]
)
_bad_elements("bytes_cut_length", "BYTES: a length of 2 bytes", lambda data: data + b"\1\0")
_bad_elements(
    "bytes_more_elements", "BYTES: more elements than the shape says", lambda data: data + b"\1\0\0\0a"
)
_bad_elements(
    "bytes_fewer_elements", "BYTES: fewer elements than the shape says", lambda data: data[: len(data) // 2]
)


@AREA.check(
    "refused.grpc.not_a_message",
    Tier.REQUIRED,
    "What is not the request's message cannot be answered with OK.",
    sources.GRPC_CODES,
    hostile=True,
)
def not_a_message(server: Server) -> None:
    """Bytes that are no message are an error."""
    # gRPC's own libraries answer bytes that they cannot parse with INTERNAL or UNKNOWN.
    reply = server.rpc.call("ModelInfer", b"\xff\xff\xff\xff this is no message")
    expect(not reply.ok and reply.code.name != "UNAVAILABLE", "an error", reply)


@AREA.check(
    "refused.grpc.empty_message",
    Tier.REQUIRED,
    f"{_MODEL} {_REFUSED}",
    sources.GRPC_INFER,
    hostile=True,
)
def empty_message(server: Server) -> None:
    """An empty message is refused."""
    expect_refused(server.rpc.call("ModelInfer", b""))


@AREA.check(
    "refused.grpc.unknown_field",
    Tier.REQUIRED,
    "A field that the server does not know is passed over: newer clients may send it.",
    sources.GRPC_INFER,
)
def unknown_field(server: Server) -> None:
    """A field of a later protocol is passed over."""
    request = server.infer_request(server.inputs())
    field_1000 = b"\xc2\x3e\x03oip"
    reply = server.rpc.call("ModelInfer", request.SerializeToString() + field_1000)
    expect(reply.ok, "OK", reply)
