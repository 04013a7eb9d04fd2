"""The protocol's messages, built from a table of field numbers.

They live in a descriptor pool of their own: a process may hold them beside those of any client library of the
protocol, which take the same names in the default pool. Only names, numbers and types are on the wire, and only these
are in the table. A message of the table stands for ``NAME=NUMBER TYPE``; ``*`` is repeated, ``{T}`` is a map from
string to T.
"""

from __future__ import annotations

import re
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "inference"
SERVICE = "inference.GRPCInferenceService"

_CONTENTS = (
    "bool_contents=1 *bool, int_contents=2 *int32, int64_contents=3 *int64, uint_contents=4 *uint32, "
    "uint64_contents=5 *uint64, fp32_contents=6 *float, fp64_contents=7 *double, bytes_contents=8 *bytes"
)
_REQUEST_OF_A_MODEL = "name=1 string, version=2 string"

_INFERENCE = {
    "Nothing": "",
    "Live": "live=1 bool",
    "Ready": "ready=1 bool",
    "NameVersion": _REQUEST_OF_A_MODEL,
    "Name": "name=1 string",
    "ServerMetadata": "name=1 string, version=2 string, extensions=3 *string",
    "TensorMetadata": "name=1 string, datatype=2 string, shape=3 *int64",
    "ModelMetadata": "name=1 string, versions=2 *string, platform=3 string, inputs=4 *TensorMetadata, "
    "outputs=5 *TensorMetadata",
    "InferParameter": "bool_param=1 bool | int64_param=2 int64 | string_param=3 string | double_param=4 double | "
    "uint64_param=5 uint64",
    "InferTensorContents": _CONTENTS,
    "Tensor": "name=1 string, datatype=2 string, shape=3 *int64, parameters=4 {InferParameter}, "
    "contents=5 InferTensorContents",
    "RequestedOutput": "name=1 string, parameters=2 {InferParameter}",
    "ModelInferRequest": "model_name=1 string, model_version=2 string, id=3 string, parameters=4 {InferParameter}, "
    "inputs=5 *Tensor, outputs=6 *RequestedOutput, raw_input_contents=7 *bytes",
    "ModelInferResponse": "model_name=1 string, model_version=2 string, id=3 string, parameters=4 {InferParameter}, "
    "outputs=5 *Tensor, raw_output_contents=6 *bytes",
    "ModelStreamInferResponse": "error_message=1 string, infer_response=2 ModelInferResponse",
    "ModelConfigResponse": "config=1 ModelConfig",
    "ModelConfig": "name=1 string, platform=2 string, max_batch_size=4 int32, input=5 *ConfigInput, "
    "output=6 *ConfigOutput, backend=17 string",
    "ConfigInput": "name=1 string, data_type=2 int32, dims=4 *int64",
    "ConfigOutput": "name=1 string, data_type=2 int32, dims=3 *int64",
    "ModelStatisticsResponse": "model_stats=1 *ModelStatistics",
    "Duration": "count=1 uint64, ns=2 uint64",
    "InferStatistics": "success=1 Duration, fail=2 Duration, queue=3 Duration, compute_input=4 Duration, "
    "compute_infer=5 Duration, compute_output=6 Duration, cache_hit=7 Duration, cache_miss=8 Duration",
    "BatchStatistics": "batch_size=1 uint64, compute_input=2 Duration, compute_infer=3 Duration, "
    "compute_output=4 Duration",
    "ModelStatistics": "name=1 string, version=2 string, last_inference=3 uint64, inference_count=4 uint64, "
    "execution_count=5 uint64, inference_stats=6 InferStatistics, batch_stats=7 *BatchStatistics",
    "RepositoryIndexRequest": "repository_name=1 string, ready=2 bool",
    "ModelIndex": "name=1 string, version=2 string, state=3 string, reason=4 string",
    "RepositoryIndexResponse": "models=1 *ModelIndex",
    "RepositoryModelRequest": "repository_name=1 string, model_name=2 string",
    "Region": "name=1 string, key=2 string, offset=3 uint64, byte_size=4 uint64",
    "SharedMemoryStatus": "regions=1 {Region}",
    "LogSetting": "bool_param=1 bool | uint32_param=2 uint32 | string_param=3 string",
    "LogSettings": "settings=1 {LogSetting}",
    "TraceValue": "value=1 *string",
    "TraceRequest": "settings=1 {TraceValue}, model_name=2 string",
    "TraceSettings": "settings=1 {TraceValue}",
    "HealthRequest": "service=1 string",
    "HealthReply": "status=1 int32",
    "ReflectionRequest": "host=1 string, file_by_filename=3 string | file_containing_symbol=4 string | "
    "list_services=7 string",
    "FileReply": "file_descriptor_proto=1 *bytes",
    "ServiceName": "name=1 string",
    "ServicesReply": "service=1 *ServiceName",
    "ReflectionError": "error_code=1 int32, error_message=2 string",
    "ReflectionReply": "valid_host=1 string, file_descriptor_response=4 FileReply, "
    "list_services_response=6 ServicesReply, error_response=7 ReflectionError",
}

_SCALARS = {
    name: getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{name.upper()}")
    for name in ("bool", "int32", "int64", "uint32", "uint64", "float", "double", "string", "bytes")
}
_FIELD = re.compile(r"(?P<name>\w+)=(?P<number>\d+) (?P<kind>[*{]?)(?P<type>\w+)}?")


def _add_field(message: Any, text: str, oneof: bool) -> None:
    match = _FIELD.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{message.name}: {text!r} is not NAME=NUMBER TYPE")
    field = message.field.add(name=match["name"], number=int(match["number"]))
    field.label = field.LABEL_REPEATED if match["kind"] else field.LABEL_OPTIONAL
    if oneof:
        field.oneof_index = 0
    if match["kind"] == "{":
        field.type = field.TYPE_MESSAGE
        field.type_name = f".{PACKAGE}.{message.name}.{_add_map_entry(message, match['name'], match['type'])}"
    else:
        _set_type(field, match["type"])


def _set_type(field: Any, kind: str) -> None:
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = field.TYPE_MESSAGE
        field.type_name = f".{PACKAGE}.{kind}"


def _add_map_entry(message: Any, field_name: str, kind: str) -> str:
    name = "".join(part.capitalize() for part in field_name.split("_")) + "Entry"
    entry = message.nested_type.add(name=name)
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=_SCALARS["string"], label=1)
    _set_type(entry.field.add(name="value", number=2, label=1), kind)
    return name


def _build(table: dict[str, str]) -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="oip_conformance.proto", package=PACKAGE, syntax="proto3")
    for name, fields in table.items():
        message = file.message_type.add(name=name)
        if "|" in fields:
            message.oneof_decl.add(name="choice")
        for group in filter(None, fields.split(",")):
            choices = group.split("|")
            for choice in choices:
                _add_field(message, choice, oneof=len(choices) > 1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file) if hasattr(pool, "Add") else pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        for name in table
    }


MESSAGES = _build(_INFERENCE)

# Method of the service: names of its request and reply in the table.
METHODS = {
    "ServerLive": ("Nothing", "Live"),
    "ServerReady": ("Nothing", "Ready"),
    "ModelReady": ("NameVersion", "Ready"),
    "ServerMetadata": ("Nothing", "ServerMetadata"),
    "ModelMetadata": ("NameVersion", "ModelMetadata"),
    "ModelInfer": ("ModelInferRequest", "ModelInferResponse"),
    "ModelStreamInfer": ("ModelInferRequest", "ModelStreamInferResponse"),
    "ModelConfig": ("NameVersion", "ModelConfigResponse"),
    "ModelStatistics": ("NameVersion", "ModelStatisticsResponse"),
    "RepositoryIndex": ("RepositoryIndexRequest", "RepositoryIndexResponse"),
    "RepositoryModelLoad": ("RepositoryModelRequest", "Nothing"),
    "RepositoryModelUnload": ("RepositoryModelRequest", "Nothing"),
    "SystemSharedMemoryStatus": ("Name", "SharedMemoryStatus"),
    "SystemSharedMemoryRegister": ("Region", "Nothing"),
    "SystemSharedMemoryUnregister": ("Name", "Nothing"),
    "TraceSetting": ("TraceRequest", "TraceSettings"),
    "LogSettings": ("LogSettings", "LogSettings"),
}


def new(message: str, /, **fields: Any) -> Any:
    """Return a message of the table."""
    return MESSAGES[message](**fields)


def parameter(value: bool | int | float | str) -> Any:
    """Return an InferParameter of the value's own type."""
    if isinstance(value, bool):
        return new("InferParameter", bool_param=value)
    if isinstance(value, int):
        return new("InferParameter", int64_param=value)
    if isinstance(value, float):
        return new("InferParameter", double_param=value)
    return new("InferParameter", string_param=value)
