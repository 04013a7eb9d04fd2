"""What servable_config.py calls: declare models, and register methods made of stages.

It says what a servable consists of, and runs nothing of it: a worker does. Begin with `definition`, the result as data;
`method` and `stage` trace a method into it.
"""

from mindspore_serving.errors import InvalidInput
from mindspore_serving.server.register.call_stage import (
    call_postprocess,
    call_postprocess_pipeline,
    call_preprocess,
    call_preprocess_pipeline,
    call_servable,
)
from mindspore_serving.server.register.context import (
    AclOptions,
    AscendDeviceInfo,
    Context,
    CPUDeviceInfo,
    GPUDeviceInfo,
    GpuOptions,
)
from mindspore_serving.server.register.declared_type import Bytes, Image, Parameters, TensorSpec, Text
from mindspore_serving.server.register.method import register_method
from mindspore_serving.server.register.method_call import call
from mindspore_serving.server.register.model import Model, declare_model, declare_servable
from mindspore_serving.server.register.pipeline import PipelineServable, register_pipeline
from mindspore_serving.server.register.stage import add_stage

__all__ = [
    "AclOptions",
    "AscendDeviceInfo",
    "Bytes",
    "CPUDeviceInfo",
    "Context",
    "GPUDeviceInfo",
    "GpuOptions",
    "Image",
    "InvalidInput",
    "Model",
    "Parameters",
    "PipelineServable",
    "TensorSpec",
    "Text",
    "add_stage",
    "call",
    "call_postprocess",
    "call_postprocess_pipeline",
    "call_preprocess",
    "call_preprocess_pipeline",
    "call_servable",
    "declare_model",
    "declare_servable",
    "register_method",
    "register_pipeline",
]
