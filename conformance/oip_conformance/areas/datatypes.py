"""Every datatype in every form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from oip_conformance import sources
from oip_conformance.areas.rest_binary import needs_binary
from oip_conformance.check import Area, Body, Skip, Tier, expect
from oip_conformance.server import Server, expect_error, outputs_of, rpc_outputs_of
from oip_conformance.tensors import BINARY_ONLY, DATATYPES, Datatype, Tensor, expect_same, json_input

AREA = Area("Datatypes", "http")


def _tier(kind: Datatype, usual: Tier) -> Tier:
    # BF16 is Triton's own.
    return Tier.TRITON if kind.name == "BF16" else usual


def _expect_announced(server: Server, model: str, found: Mapping[str, Tensor]) -> None:
    """Raise a deviation unless outputs have the datatypes of the metadata."""
    wanted = {spec.name: spec.datatype for spec in server.specs("outputs", model)}
    got = {name: tensor.datatype for name, tensor in found.items()}
    expect(got == wanted, f"outputs {wanted}, as the metadata says", got)


def _json(kind: Datatype) -> Body:
    def run(server: Server) -> None:
        model = server.model_with(kind.name)
        found = outputs_of(server.infer_json(server.inputs(model, anyway=True), model=model))
        _expect_announced(server, model, found)
        expect_same("the reply", found, server.reference(model))

    return run


def _binary(kind: Datatype) -> Body:
    def run(server: Server) -> None:
        model = server.model_with(kind.name)
        needs_binary(server)
        found = outputs_of(server.infer_binary(server.inputs(model, anyway=True), model=model))
        _expect_announced(server, model, found)
        expect_same("the reply", found, server.reference(model))

    return run


def _raw(kind: Datatype) -> Body:
    def run(server: Server) -> None:
        model = server.model_with(kind.name)
        found = rpc_outputs_of(server.infer_raw(server.inputs(model, anyway=True), model=model))
        _expect_announced(server, model, found)
        expect_same("the reply", found, server.reference(model))

    return run


def _typed(kind: Datatype) -> Body:
    def run(server: Server) -> None:
        model = server.model_with(kind.name)
        found = rpc_outputs_of(server.infer_typed(server.inputs(model, anyway=True), model=model))
        _expect_announced(server, model, found)
        expect_same("the reply", found, server.reference(model))

    return run


def _objects(*elements: bytes) -> npt.NDArray[np.object_]:
    array = np.empty(len(elements), np.object_)
    array[:] = elements
    return array


def _extremes(kind: Datatype) -> npt.NDArray[np.generic]:
    """Return the values at the edges of a datatype that JSON can write, too."""
    if kind.name == "BOOL":
        return np.array([True, False])
    if kind.name == "BYTES":
        return _objects(b"", 'h\u00e9 \u4e2d\U0001f600\n"\\\x00'.encode())
    if kind.name == "BF16":
        return np.array([np.float32(3.0) * 2.0**100, -(2.0**-100)], np.float32)
    if kind.is_float:
        limits = np.finfo(cast(Any, kind.array))
        return np.array([limits.max, -limits.smallest_normal], kind.array)
    whole = np.iinfo(np.dtype(kind.array))
    return np.array([whole.max, whole.min + 1 if whole.min else whole.max - 1], kind.array)


def _echoed(server: Server, kind: Datatype, values: npt.NDArray[np.generic]) -> tuple[str, Tensor]:
    model = server.echo_of(kind.name)
    (tensor,) = server.inputs(model)
    flat = np.resize(values, tensor.array.size)
    return model, tensor.with_array(flat.reshape(tensor.shape))


def _expect_echo(kind: Datatype, sent: Tensor, found: dict[str, Tensor]) -> None:
    (got,) = found.values()
    if kind.name == "BYTES":
        same = got.array.tolist() == sent.array.tolist()
    else:
        same = got.datatype == sent.datatype and got.array.tobytes() == sent.array.tobytes()
    expect(same, f"{sent}, to the last bit", got)


def _json_edges(kind: Datatype) -> Body:
    def run(server: Server) -> None:
        model, tensor = _echoed(server, kind, _extremes(kind))
        _expect_echo(kind, tensor, outputs_of(server.infer_json([tensor], model=model)))

    return run


def _raw_edges(kind: Datatype) -> Body:
    def run(server: Server) -> None:
        model, tensor = _echoed(server, kind, _extremes(kind))
        _expect_echo(kind, tensor, rpc_outputs_of(server.infer_raw([tensor], model=model)))

    return run


def _binary_edges(kind: Datatype) -> Body:
    def run(server: Server) -> None:
        needs_binary(server)
        model, tensor = _echoed(server, kind, _extremes(kind))
        _expect_echo(kind, tensor, outputs_of(server.infer_binary([tensor], model=model)))

    return run


def _typed_edges(kind: Datatype) -> Body:
    def run(server: Server) -> None:
        model, tensor = _echoed(server, kind, _extremes(kind))
        _expect_echo(kind, tensor, rpc_outputs_of(server.infer_typed([tensor], model=model)))

    return run


def _collect(kind: Datatype) -> None:
    name, title = kind.name.lower(), kind.name
    if kind.name not in BINARY_ONLY:
        says = f"{title} has a JSON form."
        AREA.add(
            f"type.{name}.json", Tier.REQUIRED, f"{title} as JSON", says, sources.TENSOR_DATA, _json(kind)
        )
        says = "Values come back as they are; a number is not rounded to fewer digits than its type has."
        body = _json_edges(kind)
        AREA.add(
            f"type.{name}.json_edges",
            Tier.REQUIRED,
            f"{title} at its edges, JSON",
            says,
            sources.DATATYPES,
            body,
        )
    says = "All datatypes have a binary form, in their own size, little-endian."
    AREA.add(f"type.{name}.binary", Tier.TRITON, f"{title} as binary", says, sources.BINARY, _binary(kind))
    body = _binary_edges(kind)
    AREA.add(
        f"type.{name}.binary_edges", Tier.TRITON, f"{title} at its edges, binary", says, sources.BINARY, body
    )
    says = "Raw contents are the elements, row-major, without padding."
    tier = _tier(kind, Tier.REQUIRED)
    AREA.add(f"type.{name}.raw", tier, f"{title} raw", says, sources.GRPC_INFER, _raw(kind), transport="grpc")
    body = _raw_edges(kind)
    AREA.add(
        f"type.{name}.raw_edges",
        tier,
        f"{title} at its edges, raw",
        says,
        sources.GRPC_INFER,
        body,
        transport="grpc",
    )
    if kind.contents:
        says = f"Typed contents of {title} are in {kind.contents}."
        body = _typed(kind)
        AREA.add(
            f"type.{name}.typed",
            Tier.REQUIRED,
            f"{title} typed",
            says,
            sources.GRPC_DATA,
            body,
            transport="grpc",
        )
        body = _typed_edges(kind)
        AREA.add(
            f"type.{name}.typed_edges",
            Tier.REQUIRED,
            f"{title} at its edges, typed",
            says,
            sources.GRPC_DATA,
            body,
            transport="grpc",
        )


for _kind in DATATYPES.values():
    _collect(_kind)

_ANY_BYTES = "An element of BYTES is any sequence of bytes, not only text."
_NOT_TEXT = (b"\xff\xfe\x00\x80", b"")


@AREA.check("type.bytes.any_raw", Tier.REQUIRED, _ANY_BYTES, sources.DATATYPES, transport="grpc")
def any_bytes_raw(server: Server) -> None:
    """BYTES that are not text, raw."""
    model, tensor = _echoed(server, DATATYPES["BYTES"], _objects(*_NOT_TEXT))
    _expect_echo(DATATYPES["BYTES"], tensor, rpc_outputs_of(server.infer_raw([tensor], model=model)))


@AREA.check("type.bytes.any_typed", Tier.REQUIRED, _ANY_BYTES, sources.GRPC_DATA, transport="grpc")
def any_bytes_typed(server: Server) -> None:
    """BYTES that are not text, typed."""
    model, tensor = _echoed(server, DATATYPES["BYTES"], _objects(*_NOT_TEXT))
    _expect_echo(DATATYPES["BYTES"], tensor, rpc_outputs_of(server.infer_typed([tensor], model=model)))


@AREA.check("type.bytes.any_binary", Tier.TRITON, _ANY_BYTES, sources.BINARY)
def any_bytes_binary(server: Server) -> None:
    """BYTES that are not text, binary."""
    needs_binary(server)
    model, tensor = _echoed(server, DATATYPES["BYTES"], _objects(*_NOT_TEXT))
    _expect_echo(DATATYPES["BYTES"], tensor, outputs_of(server.infer_binary([tensor], model=model)))


def _infinities(server: Server, datatype: str) -> tuple[str, Tensor]:
    kind = DATATYPES[datatype]
    return _echoed(server, kind, np.array([np.nan, -np.inf], kind.array))


@AREA.check(
    "type.fp32.nan_raw",
    Tier.REQUIRED,
    "Raw contents are the elements as they are, also NaN and infinity.",
    sources.GRPC_INFER,
    transport="grpc",
)
def nan_raw(server: Server) -> None:
    """NaN and infinity come back, raw."""
    model, tensor = _infinities(server, "FP32")
    found = rpc_outputs_of(server.infer_raw([tensor], model=model))
    (got,) = found.values()
    expect(bool(np.array_equal(got.array, tensor.array, equal_nan=True)), str(tensor), got)


@AREA.check(
    "type.fp32.nan_binary",
    Tier.TRITON,
    "Bytes are the elements as they are, also NaN and infinity.",
    sources.BINARY,
)
def nan_binary(server: Server) -> None:
    """NaN and infinity come back, binary."""
    needs_binary(server)
    model, tensor = _infinities(server, "FP32")
    (got,) = outputs_of(server.infer_binary([tensor], model=model)).values()
    expect(bool(np.array_equal(got.array, tensor.array, equal_nan=True)), str(tensor), got)


@AREA.check(
    "type.bool.numbers",
    Tier.TRITON,
    "A server may turn 0 and 1 into the booleans, or refuse them.",
    sources.TENSOR_DATA,
)
def bool_numbers(server: Server) -> None:
    """BOOL as 0 and 1 is taken as false and true, or refused with 4xx."""
    model = server.echo_of("BOOL")
    (tensor,) = server.inputs(model)
    described = {**json_input(tensor), "data": [int(value) for value in tensor.array.reshape(-1)]}
    reply = server.rest.post_json(server.path("/infer", model=model), {"inputs": [described]})
    if reply.status != 200:
        expect_error(reply)
        return
    (got,) = outputs_of(reply).values()
    expect(got.array.tolist() == tensor.array.tolist(), str(tensor), got)


@AREA.check(
    "type.fp16.json",
    Tier.TRITON,
    "FP16 has no agreed JSON form: a server takes numbers, or refuses them.",
    sources.TENSOR_DATA,
    hostile=True,
)
def fp16_json(server: Server) -> None:
    """FP16 as JSON numbers is taken, or refused with 4xx."""
    model = server.model_with("FP16")
    inputs = server.inputs(model)
    if not inputs:
        raise Skip("needs a model with an input")
    request = {"inputs": [json_input(tensor) for tensor in inputs]}
    reply = server.rest.post_json(server.path("/infer", model=model), request)
    if reply.status != 200:
        expect_error(reply)
