"""The Open Inference Protocol, over REST and over gRPC, for any server that speaks it."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from math import prod
from typing import Any
from urllib.parse import quote

import numpy as np

from mindspore_serving.cli.asking.method import TEXT_OR_BYTES, Method
from mindspore_serving.cli.asking.native import JSON, error_text, json_of
from mindspore_serving.cli.asking.session import WireReply, WireRequest
from mindspore_serving.cli.asking.wire import Instance, Result, Value, refused, unreadable
from mindspore_serving.cli.errors import CommandError
from mindspore_serving.cli.exit_codes import USAGE
from mindspore_serving.proto.foreign import open_inference_pb2
from mindspore_serving.server.dialect.open_inference.datatypes import BF16, BYTES, NAME_OF, NUMERIC, widened
from mindspore_serving.tensor import DATA_TYPE_OF, NUMPY_OF, Array, DataType

SERVICE = "/inference.GRPCInferenceService"
HEADER_LENGTH = "inference-header-content-length"
_LENGTH = struct.Struct("<I")


class Tensor:
    """A tensor of a request or reply.

    Args:
        name: Its name.
        datatype: As the protocol calls it.
        shape: Its whole shape.
        data: An array, or the elements of BYTES in order.
    """

    def __init__(self, name: str, datatype: str, shape: Sequence[int], data: Array | list[bytes]) -> None:
        self.name = name
        self.datatype = datatype
        self.shape = tuple(shape)
        self.data = data

    def raw(self) -> bytes:
        """Its elements, little-endian; those of BYTES each with its length before it."""
        if isinstance(self.data, list):
            return b"".join(_LENGTH.pack(len(one)) + one for one in self.data)
        return np.ascontiguousarray(self.data).tobytes()

    def elements(self) -> list[Any]:
        """Its elements for JSON.

        Raises:
            CommandError: There are bytes that are no text.
        """
        if not isinstance(self.data, list):
            return list(self.data.reshape(-1).tolist())
        try:
            return [one.decode() for one in self.data]
        except UnicodeDecodeError as cause:
            raise CommandError(
                f"'{self.name}' holds bytes that are no UTF-8 text, which JSON of the Open Inference Protocol cannot "
                "carry",
                "Send them with --protocol oip-binary, native, or over gRPC.",
                USAGE,
            ) from cause


def tensors_of(method: Method, instances: Sequence[Instance]) -> list[list[Tensor]]:
    """The tensors of each request: all instances as rows of one, or one request for each instance.

    Args:
        method: What is asked.
        instances: At least one, all with the same names.

    Raises:
        CommandError: Instances differ in shape or type, so that no tensor holds them as rows.
    """
    if not method.rows:
        return [
            [
                _tensor(name, [value], _shape_without_rows(method, name, value))
                for name, value in instance.items()
            ]
            for instance in instances
        ]
    tensors = []
    for name in instances[0]:
        values = [instance[name] for instance in instances]
        declared = method.input_named(name)
        if declared is not None and declared.shared:
            values = values[:1]
            tensors.append(_tensor(name, values, _shape_of(values[0])))
            continue
        if len({(_kind_of(value), _shape_of(value)) for value in values}) > 1:
            raise CommandError(
                f"Values of '{name}' differ in type or shape, so no tensor holds them as rows: "
                f"{', '.join(sorted({f'{_kind_of(v)} {list(_shape_of(v))}' for v in values}))}",
                "Send them with --protocol native, or one by one.",
                USAGE,
            )
        tensors.append(_tensor(name, values, (len(values), *_shape_of(values[0]))))
    return [tensors]


def _kind_of(value: Value) -> str:
    return BYTES if isinstance(value, (str, bytes)) else NAME_OF[DATA_TYPE_OF[value.dtype]]


def _shape_of(value: Value) -> tuple[int, ...]:
    return () if isinstance(value, (str, bytes)) else value.shape


def _shape_without_rows(method: Method, name: str, value: Value) -> tuple[int, ...]:
    """Shape of a tensor that is one instance; text needs a dimension."""
    return (1,) if isinstance(value, (str, bytes)) else value.shape


def _tensor(name: str, values: Sequence[Value], shape: Sequence[int]) -> Tensor:
    texts = [one.encode() if isinstance(one, str) else one for one in values if isinstance(one, (str, bytes))]
    if texts:
        return Tensor(name, BYTES, shape, texts)
    arrays = [one for one in values if not isinstance(one, (str, bytes))]
    return Tensor(name, NAME_OF[DATA_TYPE_OF[arrays[0].dtype]], shape, np.stack(arrays).reshape(tuple(shape)))


def results_of(method: Method, tensors: Sequence[Tensor]) -> list[Result]:
    """Rows of tensors as results, or the tensors as the result of one instance.

    Args:
        method: What was asked.
        tensors: Outputs.

    Raises:
        CommandError: They have no rows, or not all as many.
    """
    values = {tensor.name: _value_of(method, tensor) for tensor in tensors}
    if not method.rows:
        return [
            {name: one[0] if isinstance(one, list) and len(one) == 1 else one for name, one in values.items()}
        ]
    counts = {len(one) for one in values.values()}
    if len(counts) != 1:
        shapes = {tensor.name: list(tensor.shape) for tensor in tensors}
        raise unreadable(method, f"outputs with as many rows each were expected, got shapes {shapes}")
    return [{name: one[row] for name, one in values.items()} for row in range(counts.pop())]


def _value_of(method: Method, tensor: Tensor) -> Any:
    if not isinstance(tensor.data, list):
        return tensor.data
    declared = next((one for one in method.outputs if one.name == tensor.name), None)
    if declared is not None and declared.dtype is DataType.BYTES and declared.content != TEXT_OR_BYTES:
        return tensor.data
    return [_text_or_bytes(one) for one in tensor.data]


def _text_or_bytes(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def tensor_from_raw(name: str, datatype: str, shape: Sequence[int], data: bytes) -> Tensor:
    """A tensor of a reply from its bytes.

    Raises:
        ValueError: There are more or fewer than its shape says, or the datatype is unknown.
    """
    if datatype == BYTES:
        texts, at = [], 0
        while at < len(data):
            (size,) = _LENGTH.unpack_from(data, at)
            texts.append(data[at + 4 : at + 4 + size])
            at += 4 + size
        if at != len(data) or len(texts) != prod(shape):
            raise ValueError(
                f"{len(texts)} elements in {len(data)} bytes for shape {list(shape)} of '{name}'"
            )
        return Tensor(name, datatype, shape, texts)
    if datatype == BF16:
        return Tensor(name, "FP32", shape, widened(data).reshape(tuple(shape)))
    return Tensor(name, datatype, shape, np.frombuffer(data, _numpy_of(name, datatype)).reshape(tuple(shape)))


def _numpy_of(name: str, datatype: str) -> np.dtype[Any]:
    if datatype not in NUMERIC:
        raise ValueError(f"'{name}' has the datatype {datatype!r}")
    return NUMPY_OF[NUMERIC[datatype]]


class OpenInferenceRest:
    """`POST /v2/models/NAME[/versions/V]/infer`.

    Args:
        binary: Whether the tensors' bytes come after the JSON, both ways.
    """

    def __init__(self, *, binary: bool) -> None:
        self._binary = binary

    def requests(self, method: Method, instances: Sequence[Instance]) -> list[WireRequest]:
        """One request for all rows, or one for each instance; errors as of `Wire`."""
        version = f"/versions/{quote(method.version, safe='')}" if method.version else ""
        path = f"/v2/models/{quote(method.model, safe='')}{version}/infer"
        return [self._request(path, tensors) for tensors in tensors_of(method, instances)]

    def _request(self, path: str, tensors: Sequence[Tensor]) -> WireRequest:
        if not self._binary:
            body = {"inputs": [{**_head(one), "data": one.elements()} for one in tensors]}
            return WireRequest(path, json.dumps(body).encode(), JSON)
        raws = [tensor.raw() for tensor in tensors]
        inputs = [
            {**_head(tensor), "parameters": {"binary_data_size": len(raw)}}
            for tensor, raw in zip(tensors, raws, strict=True)
        ]
        head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
        headers = {"content-type": "application/octet-stream", HEADER_LENGTH: str(len(head))}
        return WireRequest(path, head + b"".join(raws), headers)

    def results(self, method: Method, reply: WireReply) -> list[Result]:
        """The outputs of a reply; errors as of `Wire`."""
        if not reply.ok:
            raise refused(method, reply, error_text(json_of(reply), "error"))
        try:
            size = int(reply.headers.get(HEADER_LENGTH, len(reply.body)))
            outputs = json.loads(reply.body[:size])["outputs"]
            tensors = []
            for output in outputs:
                raw_size = output.get("parameters", {}).get("binary_data_size")
                if raw_size is None:
                    tensors.append(_tensor_from_json(output))
                    continue
                data = reply.body[size : size + raw_size]
                tensors.append(tensor_from_raw(output["name"], output["datatype"], output["shape"], data))
                size += raw_size
        except (KeyError, TypeError, ValueError, struct.error) as cause:
            raise unreadable(method, cause) from cause
        return results_of(method, tensors)


def _head(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "shape": list(tensor.shape), "datatype": tensor.datatype}


def _tensor_from_json(output: Any) -> Tensor:
    name, datatype, shape = output["name"], output["datatype"], output["shape"]
    if datatype == BYTES:
        return Tensor(name, datatype, shape, [one.encode() for one in np.ravel(output["data"]).tolist()])
    data = np.asarray(output["data"], dtype=_numpy_of(name, datatype)).reshape(tuple(shape))
    return Tensor(name, datatype, shape, data)


class OpenInferenceGrpc:
    """`GRPCInferenceService/ModelInfer`, the tensors as raw bytes."""

    def requests(self, method: Method, instances: Sequence[Instance]) -> list[WireRequest]:
        """One request for all rows, or one for each instance; errors as of `Wire`."""
        requests = []
        for tensors in tensors_of(method, instances):
            message = open_inference_pb2.ModelInferRequest(
                model_name=method.model,
                model_version=method.version,
                inputs=[{"name": one.name, "shape": one.shape, "datatype": one.datatype} for one in tensors],
                raw_input_contents=[one.raw() for one in tensors],
            )
            requests.append(WireRequest(f"{SERVICE}/ModelInfer", message.SerializeToString()))
        return requests

    def results(self, method: Method, reply: WireReply) -> list[Result]:
        """The outputs of a reply; errors as of `Wire`."""
        if not reply.ok:
            raise refused(method, reply, reply.details)
        try:
            message = open_inference_pb2.ModelInferResponse.FromString(reply.body)
            raws = list(message.raw_output_contents)
            tensors = [
                tensor_from_raw(one.name, one.datatype, one.shape, raws[index])
                if raws
                else _tensor_from_contents(one)
                for index, one in enumerate(message.outputs)
            ]
        except (ValueError, IndexError, struct.error) as cause:
            raise unreadable(method, cause) from cause
        return results_of(method, tensors)


def _tensor_from_contents(output: Any) -> Tensor:
    """An output whose elements are in typed fields, as MLServer sends them."""
    contents = output.contents
    fields = [getattr(contents, field.name) for field, _ in contents.ListFields()]
    elements = list(fields[0]) if fields else []
    if output.datatype == BYTES:
        return Tensor(output.name, BYTES, output.shape, elements)
    dtype = _numpy_of(output.name, output.datatype)
    return Tensor(
        output.name, output.datatype, output.shape, np.asarray(elements, dtype).reshape(tuple(output.shape))
    )
