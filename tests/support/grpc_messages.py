"""Hand-made messages over a raw gRPC channel: what a client in another language may send."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt

from mindspore_serving.proto import ms_service_pb2 as pb

PREDICT = "/mindspore.serving.proto.MSService/Predict"
ANSWER_TIMEOUT_S = 20.0
Instance = Mapping[str, pb.Tensor]

DTYPES: dict[str, int] = {
    "bool": pb.MS_BOOL,
    "int8": pb.MS_INT8,
    "uint8": pb.MS_UINT8,
    "int16": pb.MS_INT16,
    "uint16": pb.MS_UINT16,
    "int32": pb.MS_INT32,
    "uint32": pb.MS_UINT32,
    "int64": pb.MS_INT64,
    "uint64": pb.MS_UINT64,
    "float16": pb.MS_FLOAT16,
    "float32": pb.MS_FLOAT32,
    "float64": pb.MS_FLOAT64,
}


def tensor(array: npt.NDArray[Any]) -> pb.Tensor:
    """A numeric tensor."""
    return raw_tensor(DTYPES[array.dtype.name], array.shape, array.tobytes())


def raw_tensor(dtype: int, dims: Iterable[int], data: bytes) -> pb.Tensor:
    """A tensor whose fields need not fit each other."""
    return pb.Tensor(shape=pb.TensorShape(dims=list(dims)), dtype=dtype, data=data)


def text_tensor(*values: bytes, dtype: int = pb.MS_STRING, dims: Iterable[int] = (1,)) -> pb.Tensor:
    """A text or bytes tensor."""
    return pb.Tensor(shape=pb.TensorShape(dims=list(dims)), dtype=dtype, bytes_val=list(values))


def array_of(message: pb.Tensor) -> npt.NDArray[Any]:
    """Content of a numeric tensor."""
    [name] = [name for name, number in DTYPES.items() if number == message.dtype]
    return np.frombuffer(message.data, name).reshape(tuple(message.shape.dims))


def instance(**items: pb.Tensor) -> pb.Instance:
    message = pb.Instance()
    for name, value in items.items():
        message.items[name].CopyFrom(value)
    return message


def request(
    servable: str, method: str, instances: Iterable[pb.Instance], version: int = 0
) -> pb.PredictRequest:
    """A request with its instances in field 2."""
    spec = pb.ServableSpec(name=servable, method_name=method, version_number=version)
    return pb.PredictRequest(servable_spec=spec, instances=list(instances))


def errors(reply: pb.PredictReply) -> list[tuple[int, str]]:
    """Code and text of each error entry."""
    return [(entry.error_code, entry.error_msg.decode()) for entry in reply.error_msg]


class RawClient:
    """Sends bytes as they are."""

    def __init__(self, address: str) -> None:
        options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        self._channel = grpc.insecure_channel(address, options)

    def call(self, content: bytes, path: str = PREDICT) -> bytes:
        """The reply's bytes; raises grpc.RpcError."""
        answer: bytes = self._channel.unary_unary(path)(content, timeout=ANSWER_TIMEOUT_S)
        return answer

    def predict(self, message: pb.PredictRequest | bytes) -> pb.PredictReply:
        """The reply, which must come with gRPC status OK."""
        content = message if isinstance(message, bytes) else message.SerializeToString()
        return pb.PredictReply.FromString(self.call(content))

    def failure(self, content: bytes, path: str = PREDICT) -> tuple[grpc.StatusCode, str]:
        """Status and details of a call that must fail."""
        try:
            answer = self.call(content, path)
        except grpc.RpcError as error:
            return error.code(), error.details()
        raise AssertionError(f"the call succeeded: {pb.PredictReply.FromString(answer)}")

    def __enter__(self) -> RawClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()
