"""A serialised PredictRequest: reading by column against the classes that protobuf has generated."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from mindspore_serving.errors import InvalidInput
from mindspore_serving.proto import UNDECODABLE, ms_service_pb2
from mindspore_serving.rows import Rows
from mindspore_serving.server.dialect.native import predict_codec
from mindspore_serving.server.dialect.native.predict_codec import (
    PredictMessage,
    encode_failure,
    encode_reply,
)
from mindspore_serving.server.dialect.native.wire_layout import LayoutMemory
from mindspore_serving.signature import MethodSignature
from mindspore_serving.tensor import ITEM_SIZE, MAX_DIMENSIONS, MOST_EMPTY, DataType
from tests.fuzz.oracle import LONGEST_TEXT, demand, demand_text

METHODS = (MethodSignature("m", ("x1", "x2"), 64), MethodSignature("e", (), 64))


def one_input(data: bytes) -> None:
    """Read a message for two methods, each twice: the second time its layout is known."""
    try:
        expected = ms_service_pb2.PredictRequest.FromString(data)
    except DecodeError:
        expected = None
    for method in METHODS:
        memory = LayoutMemory()
        outcome = _read(data, method, memory)
        demand(_read(data, method, memory) == outcome, "a known layout changes nothing", outcome)
        _compare_parts(data, method, outcome)
        blocks = outcome if isinstance(outcome, list) else None
        if expected is None:
            demand(blocks is None, "what protobuf refuses is refused", blocks)
        else:
            _compare(data, blocks, expected, method)


def _read(data: bytes, method: MethodSignature, memory: LayoutMemory) -> object:
    try:
        call = PredictMessage(data)
        blocks = call.read_instances(method, memory)
    except UNDECODABLE as error:
        return type(error)
    except InvalidInput as error:
        # A server reads instances for the names of servables that it has.
        demand_text(error, LONGEST_TEXT + len(call.name) + len(call.method))
        reply = ms_service_pb2.PredictReply.FromString(encode_failure(call.spec_bytes, error.failure()))
        demand(len(reply.error_msg) == 1, "a refusal is told", reply)
        return str(error)
    return [_Block(rows) for rows in blocks]


def _compare_parts(data: bytes, method: MethodSignature, whole: object) -> None:
    """A large message is read field by field, which lets more of what is unknown pass, but no groups."""
    memory = LayoutMemory()
    before, predict_codec._FIELDS_AT_ONCE = predict_codec._FIELDS_AT_ONCE, 2
    try:
        parts = [part for part in PredictMessage(data).parts() if part is not None]
        blocks = [rows for part in parts for rows in part.read_instances(method, memory)]
    except UNDECODABLE as error:
        demand(
            not isinstance(whole, list) or "field type" in str(error), "parts are read like the whole", error
        )
    except InvalidInput as error:
        demand(not isinstance(whole, list), "the parts of a good message are good", error)
    else:
        if isinstance(whole, list):
            demand(
                _one_by_one(blocks) == _one_by_one(b.rows for b in whole), "the parts are the whole", blocks
            )
        else:
            demand(whole in UNDECODABLE or not blocks, "what the whole lacks, a part lacks", blocks)
    finally:
        predict_codec._FIELDS_AT_ONCE = before


def _one_by_one(blocks: Iterable[Rows]) -> list[object]:
    """Each instance by itself."""
    return [
        [(spec, _bytes_of(column)[i]) for spec, column in zip(rows.specs, rows.columns, strict=True)]
        for rows in blocks
        for i in range(rows.count)
    ]


class _Block:
    """Rows that compare by what they hold."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Block) and self._content() == other._content()

    def __repr__(self) -> str:
        return repr(self.rows)

    def _content(self) -> object:
        return self.rows.specs, self.rows.count, [_bytes_of(column) for column in self.rows.columns]


def _bytes_of(column: Any) -> list[bytes]:
    return column if isinstance(column, list) else [row.tobytes() for row in column]


def _compare(data: bytes, blocks: Any, expected: Any, method: MethodSignature) -> None:
    instances = [*expected.instances, *expected.instances_of_first_generation]
    tensors = [[instance.items.get(name) for name in method.input_names] for instance in instances]
    good = bool(instances) and all(_is_good(tensor) for row in tensors for tensor in row)
    demand(good == (blocks is not None), "what is well formed is read, and nothing else", blocks, expected)
    if blocks is None:
        return
    call = PredictMessage(data)
    if sum(field.field_number == 1 for field in UnknownFieldSet(Empty.FromString(data))) == 1:
        spec = expected.servable_spec
        demand(
            (call.name, call.method, call.version) == (spec.name, spec.method_name, spec.version_number),
            "the target is that of the message",
            call.name,
        )
    reply = ms_service_pb2.PredictReply.FromString(encode_reply(call.spec_bytes, [b.rows for b in blocks]))
    demand(len(reply.instances) == len(instances), "every instance is in the reply", len(reply.instances))
    for row, instance in zip(tensors, reply.instances, strict=True):
        for name, tensor in zip(method.input_names, row, strict=True):
            _compare_tensor(instance.items[name], tensor)


def _is_good(tensor: Any) -> bool:
    if tensor is None or not DataType.BOOL <= tensor.dtype <= DataType.BYTES:
        return False
    dtype, dims = DataType(tensor.dtype), list(tensor.shape.dims)
    if not dtype.is_text:
        fits = len(dims) <= MAX_DIMENSIONS and all(dim >= 0 for dim in dims) and 0 not in dims[:-1]
        if fits and dims[-1:] == [0]:
            fits = prod(dims[:-1]) <= MOST_EMPTY
        return fits and prod(dims) * ITEM_SIZE[dtype] == len(tensor.data)
    if len(tensor.bytes_val) != 1 or dims not in ([], [1]):
        return False
    return dtype is DataType.BYTES or _is_utf8(tensor.bytes_val[0])


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _compare_tensor(got: Any, sent: Any) -> None:
    same = (got.dtype, list(got.shape.dims)) == (sent.dtype, list(sent.shape.dims))
    if DataType(sent.dtype).is_text:
        same = same and list(got.bytes_val) == list(sent.bytes_val)
    else:
        same = same and got.data == sent.data
    demand(same, "a tensor comes back as it was sent", got, sent)
