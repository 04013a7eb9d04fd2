"""`PredictRequest` bytes to columns of instances, and outcomes to `PredictReply` bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError

from mindspore_serving import wire
from mindspore_serving.errors import Failure, InvalidInput, StatusCode, excerpt
from mindspore_serving.proto import ms_service_pb2
from mindspore_serving.rows import FailedRows, Group, Reply, Rows
from mindspore_serving.server.dialect.native.wire_layout import LayoutMemory, reply_layout
from mindspore_serving.server.service.error_text import text_for_client, texts_for_client
from mindspore_serving.signature import MethodSignature
from mindspore_serving.tensor import (
    MAX_DIMENSIONS,
    NUMPY_OF,
    DataType,
    Specs,
    TensorSpec,
    check_shape_and_size,
    runs_of_equal,
)

_FIELDS_AT_ONCE = 1024
_INSTANCES_AT_ONCE = 1024
_LARGEST_SPEC = 4096
"""Bytes of a target up to which it is remembered; none is so long unless it is made to fill the memory."""


class _Field(NamedTuple):
    """Tag of a field, and where it stands in a message."""

    tag: int
    start: int
    end: int


def _runs_of_fields(message: bytes, at: int) -> Iterator[list[_Field]]:
    """The fields from a position on, so many at a time.

    Raises:
        ValueError: The bytes are no message.
        IndexError: They end too early.
    """
    while at < len(message):
        run: list[_Field] = []
        while at < len(message) and len(run) < _FIELDS_AT_ONCE:
            tag, end = wire.field_at(message, at)
            run.append(_Field(tag, at, end))
            at = end
        yield run


class PredictMessage:
    """One serialised request, its target read and its instances not yet.

    Attributes:
        name: Servable name.
        method: Method name.
        version: Version number, 0 for the newest.
        spec_bytes: The serialised target, as the reply echoes it.
    """

    __slots__ = ("_at", "_message", "method", "name", "spec_bytes", "version")

    def __init__(self, message: bytes) -> None:
        """Read the target.

        Raises:
            DecodeError: The bytes are no PredictRequest.
        """
        self._message = message
        self._at = _end_of_spec(message)
        if self._at:
            self.spec_bytes = message[: self._at]
            self.name, self.method, self.version = _target_of(self.spec_bytes)
        else:
            spec = ms_service_pb2.PredictRequest.FromString(message).servable_spec
            self.name, self.method, self.version = spec.name, spec.method_name, spec.version_number
            self.spec_bytes = ms_service_pb2.PredictReply(servable_spec=spec).SerializeToString()

    def let_go(self) -> None:
        """Keep nothing but the target: the instances have been read."""
        self._message = b""

    def read_known(self, method: MethodSignature, layouts: LayoutMemory) -> Rows | None:
        """The instances, if the message looks like an earlier one: then reading them takes next to no time.

        Args:
            method: Names the inputs; others are ignored.
            layouts: What earlier messages looked like.
        """
        return layouts.read(self._message, self._at, method.input_names) if self._at else None

    def parts(self) -> Iterator[PredictMessage | None]:
        """Messages with the instances of this one, in their order, so few in each that others need not wait for it.

        Yields:
            A message; or None where as many fields were passed over that are none.

        Raises:
            DecodeError: The bytes are no PredictRequest, or hold a group, which nobody writes any more.
        """
        size = len(self._message)
        first_generation = size  # those come behind all others, wherever they stand
        try:
            for fields in _runs_of_fields(self._message, 0):
                if fields[0].start == 0 and fields[-1].end == size:  # these are all
                    yield self
                    return
                first_generation = min(
                    [
                        first_generation,
                        *(f.start for f in fields if f.tag == wire.INSTANCE_OF_FIRST_GENERATION),
                    ]
                )
                yield self._part(fields, wire.INSTANCE_OF_REQUEST)
            for fields in _runs_of_fields(self._message, first_generation):
                yield self._part(fields, wire.INSTANCE_OF_FIRST_GENERATION)
        except (ValueError, IndexError) as cause:
            raise DecodeError(str(cause)) from cause

    def _part(self, fields: Sequence[_Field], tag: int) -> PredictMessage | None:
        instances = b"".join([self._message[f.start : f.end] for f in fields if f.tag == tag])
        return PredictMessage(self.spec_bytes + instances) if instances else None

    def no_instances(self) -> InvalidInput:
        """The error of a request without any."""
        return InvalidInput(
            f"Instances count of request cannot be 0, servable: {self.name}, method: {self.method}"
        )

    def read_instances(self, method: MethodSignature, layouts: LayoutMemory) -> list[Rows]:
        """Read and check the instances.

        Args:
            method: Names the inputs; others are ignored.
            layouts: What earlier messages looked like.

        Returns:
            The instances in order, neighbours with equal specs in one block.

        Raises:
            DecodeError: The bytes are no PredictRequest.
            InvalidInput: There is no instance, or one lacks an input or holds a tensor that is none.
        """
        rows = self.read_known(method, layouts)
        if rows is not None:
            return [rows]
        request = ms_service_pb2.PredictRequest.FromString(self._message)
        groups = (request.instances, request.instances_of_first_generation)
        if not any(groups):
            raise self.no_instances()
        blocks = self._blocks_of(chain.from_iterable(groups), method)
        if self._at and len(blocks) == 1:
            layouts.learn(self._message, self._at, blocks[0])
        return blocks

    def _blocks_of(self, instances: Iterable[Any], method: MethodSignature) -> list[Rows]:
        specs, values = [], []
        for instance in instances:
            instance_specs, instance_values = self._read_instance(instance.items, method)
            specs.append(instance_specs)
            values.append(instance_values)
        return [_block_of(specs[start], values[start:stop]) for start, stop in runs_of_equal(specs)]

    def _read_instance(self, items: Any, method: MethodSignature) -> tuple[Specs, list[bytes]]:
        specs, values = [], []
        for name in method.input_names:
            if name not in items:
                raise InvalidInput(
                    f"Cannot find input {name} in instance input , servable {self.name}, method {self.method}"
                )
            try:
                dtype, shape, value = _read_tensor(items[name])
            except InvalidInput as cause:
                raise InvalidInput(f"Instances input {name} check failed, detail: {cause}") from cause
            specs.append(TensorSpec(name, dtype, shape))
            values.append(value)
        return tuple(specs), values


def _end_of_spec(message: bytes) -> int:
    """Where the leading target ends; 0 if the message does not start with exactly one, of a usual length."""
    try:
        if message[0] != wire.SPEC:
            return 0
        length, start = wire.read_varint(message, 1)
        if length > _LARGEST_SPEC:
            return 0
        end = start + length
        # A second target later in the message would replace the first one; instances come next in all clients.
        return end if end < len(message) and message[end] != wire.SPEC else 0
    except (IndexError, ValueError):
        return 0


@lru_cache(maxsize=1024)
def _target_of(spec: bytes) -> tuple[str, str, int]:
    target = ms_service_pb2.PredictRequest.FromString(spec).servable_spec
    return target.name, target.method_name, target.version_number


def _read_tensor(tensor: Any) -> tuple[DataType, tuple[int, ...], bytes]:
    """Data type, shape and data of a tensor on the wire, checked."""
    number = tensor.dtype
    if not DataType.BOOL <= number <= DataType.BYTES:
        raise InvalidInput("Tensor check failed: input data type proto::MS_UNKNOWN invalid")
    dtype = DataType(number)
    dims = tensor.shape.dims
    if len(dims) > MAX_DIMENSIONS:
        raise InvalidInput(
            f"Tensor check failed: input  shape of {len(dims)} dimensions invalid, at most {MAX_DIMENSIONS} are "
            "supported"
        )
    shape = tuple(dims)
    if not dtype.is_text:
        data = tensor.data
        check_shape_and_size(shape, dtype, len(data))
        return dtype, shape, data
    if len(tensor.bytes_val) != 1:
        raise InvalidInput(
            "Instance tensor check failed: bytes or string type shape batch size can only be 1"
        )
    if shape not in ((), (1,)):
        raise InvalidInput(
            "Instance tensor check failed: bytes or string type input  shape can only be (1,) or empty, "
            f"but given shape is {excerpt(str(list(shape)))}"
        )
    value = tensor.bytes_val[0]
    if dtype is DataType.STRING:
        check_text(value)
    return dtype, shape, value


def check_text(value: bytes) -> None:
    """Check that a STRING value is UTF-8.

    Raises:
        InvalidInput: It is not; the text says where.
    """
    try:
        value.decode()
    except UnicodeDecodeError as cause:
        raise InvalidInput(f"Tensor check failed: input string is not valid UTF-8: {cause}") from cause


def _block_of(specs: Specs, values: Sequence[Sequence[bytes]]) -> Rows:
    """Instances with equal specs as columns."""
    columns: list[Any] = []
    for i, spec in enumerate(specs):
        column = [instance[i] for instance in values]
        if spec.dtype.is_text:
            columns.append(column)
        else:
            data = column[0] if len(column) == 1 else b"".join(column)
            columns.append(np.frombuffer(data, NUMPY_OF[spec.dtype]).reshape(len(column), *spec.shape))
    return Rows(specs, tuple(columns), len(values))


def encode_failure(spec: bytes, failure: Failure) -> bytes:
    """Reply to a request that failed as a whole.

    Args:
        spec: Serialised target to echo.
        failure: The reason.
    """
    reply = ms_service_pb2.PredictReply()
    _add_error(reply, failure.code, text_for_client(failure).encode())
    return spec + bytes(reply.SerializeToString())


def encode_reply(spec: bytes, groups: Reply) -> bytes:
    """Reply with the outcome of every instance.

    Args:
        spec: Serialised target to echo.
        groups: Results and failures in request order.
    """
    whole = _in_one_piece(spec, groups)
    return b"".join(parts_of_reply(spec, groups)) if whole is None else whole


def _in_one_piece(spec: bytes, groups: Reply) -> bytes | None:
    """The reply to instances that are alike, the common case; None for any other."""
    first = groups[0]
    if len(groups) > 1 or isinstance(first, FailedRows):
        return None
    layout = reply_layout(first.specs)
    return None if layout is None else b"".join([spec, *layout.write(first)])


def parts_of_reply(spec: bytes, groups: Reply) -> Iterator[bytes]:
    """The reply piece by piece, each so small that others need not wait for it.

    Args:
        spec: Serialised target to echo.
        groups: Results and failures in request order.
    """
    whole = _in_one_piece(spec, groups)
    if whole is not None:
        yield whole
        return
    runs = list(_runs_of_groups(groups))
    failures = [group.failure for run in runs for group in run if isinstance(group, FailedRows)]
    if failures and not any(isinstance(group, Rows) for group in groups) and _alike(failures):
        yield encode_failure(spec, failures[0])
        return
    yield spec
    texts = iter(texts_for_client(failures))
    for run in runs:
        yield _encode_by_instance(run, texts, some_failed=bool(failures))


def _runs_of_groups(groups: Reply) -> Iterator[list[Group]]:
    """The outcomes in their order, of so many instances at a time."""
    run: list[Group] = []
    count = 0
    for group in groups:
        for start in range(0, group.count, _INSTANCES_AT_ONCE):
            part = group.take(start, min(group.count, start + _INSTANCES_AT_ONCE))
            run.append(part)
            count += part.count
            if count >= _INSTANCES_AT_ONCE:
                yield run
                run, count = [], 0
    if run:
        yield run


def _alike(failures: Sequence[Failure]) -> bool:
    first = failures[0]
    return all(failure.code == first.code and failure.text == first.text for failure in failures)


def _encode_by_instance(groups: Sequence[Group], texts: Iterator[str], *, some_failed: bool) -> bytes:
    """Outcomes of neighbouring instances.

    Args:
        groups: The outcomes.
        texts: What clients are told, from the first failure of these on.
        some_failed: Whether any instance of the whole reply has failed: then each has an entry that says so or not.
    """
    reply = ms_service_pb2.PredictReply()
    for group in groups:
        if isinstance(group, FailedRows):
            text = next(texts).encode()
            for _ in range(group.count):
                reply.instances.add()
                _add_error(reply, group.failure.code, text)
            continue
        for i in range(group.count):
            instance = reply.instances.add()
            for spec, column in zip(group.specs, group.columns, strict=True):
                _write_tensor(instance.items[spec.name], spec, column[i])
            if some_failed:
                reply.error_msg.add()
    return bytes(reply.SerializeToString())


def _add_error(reply: Any, code: StatusCode, text: bytes) -> None:
    error = reply.error_msg.add()
    error.error_code = code
    error.error_msg = text


def _write_tensor(tensor: Any, spec: TensorSpec, value: Any) -> None:
    tensor.dtype = spec.dtype
    tensor.shape.dims.extend(spec.shape)
    if spec.dtype.is_text:
        tensor.bytes_val.append(value)
    else:
        tensor.data = value.tobytes()


__all__ = ["PredictMessage", "encode_failure", "encode_reply", "parts_of_reply"]
