"""What servable_config.py calls: declare models, and register methods made of stages."""

from mindspore_serving.server.register.context import (
    AclOptions,
    AscendDeviceInfo,
    Context,
    CPUDeviceInfo,
    GPUDeviceInfo,
    GpuOptions,
)
from mindspore_serving.server.register.method import register_method
from mindspore_serving.server.register.model import Model, declare_model
from mindspore_serving.server.register.stage import add_stage

__all__ = [
    "AclOptions",
    "AscendDeviceInfo",
    "CPUDeviceInfo",
    "Context",
    "GPUDeviceInfo",
    "GpuOptions",
    "Model",
    "add_stage",
    "declare_model",
    "register_method",
]
