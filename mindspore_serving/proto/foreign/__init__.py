"""Messages of protocols that others have named, too: Open Inference Protocol, and health and reflection of gRPC.

protobuf keeps all messages of a process in one pool, and refuses a second message of the same name. tritonclient,
kserve, mlserver and the packages of gRPC put theirs into it. So ours are in a pool of their own (ADR 53).

The modules here are generated like those of `mindspore_serving.proto`, and used like them:
`open_inference_pb2.ModelInferRequest(...)`. `proto/generate.py` makes each of them of a descriptor and a call of
`define`.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

_POOL = DescriptorPool()


def define(module: dict[str, Any], serialized: bytes) -> None:
    """Define what a file declares, as the modules do that protoc writes.

    Args:
        module: Globals of the module: it gets the messages, enums and their values, and `DESCRIPTOR` of the file.
        serialized: The file, as a FileDescriptorProto.
    """
    file = _POOL.AddSerializedFile(serialized)
    module["DESCRIPTOR"] = file
    for name, enum in file.enum_types_by_name.items():
        module[name] = EnumTypeWrapper(enum)
        module.update({value.name: value.number for value in enum.values})
    for name, message in file.message_types_by_name.items():
        module[name] = _class_of(message, module["__name__"])


def _class_of(descriptor: Descriptor, module: str) -> type[Message]:
    """The class of a message, with those of the messages inside it.

    The implementation of protobuf in Python gives a class only the messages that are its fields' types.
    """
    made: type[Message] = GetMessageClass(descriptor)
    made.__module__ = module
    for name, nested in descriptor.nested_types_by_name.items():
        inner = _class_of(nested, module)
        if not hasattr(made, name):
            setattr(made, name, inner)
    return made
