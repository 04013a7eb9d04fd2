"""The servables of the shared server: sources of their servable_config.py."""

from __future__ import annotations

ADD = """\
import numpy as np

from mindspore_serving.server import register

model = register.declare_model(model_file="tensor_add.mindir", model_format="MindIR", with_batch_dim={batch})


def cast(x1, x2):
    return x1.astype(np.float32), x2.astype(np.float32)


@register.register_method(output_names=["y"])
def add_common(x1, x2):
    return register.add_stage(model, x1, x2, outputs_count=1)


@register.register_method(output_names=["y"])
def add_cast(x1, x2):
    x1, x2 = register.add_stage(cast, x1, x2, outputs_count=2)
    return register.add_stage(model, x1, x2, outputs_count=1)
"""

PYSTAGE = """\
import numpy as np

from mindspore_serving.server import register


def identity_fun(x):
    return x


def raise_fun(x):
    raise RuntimeError("boom from stage")


def partial_fun(x):
    if (x < 0).any():
        raise RuntimeError("negative input")
    return x


def partial_batch_fun(instances):
    for (x,) in instances:
        if (x < 0).any():
            raise RuntimeError("negative input in batch")
        yield x


def badcount_fun(x):
    return x, x


def text_fun(x):
    return str(x)


def zeros_fun(count):
    return np.zeros(int(count), np.uint8)


def method(name, function, batch_size=None):
    def one_stage(x):
        return register.add_stage(function, x, outputs_count=1, batch_size=batch_size)

    one_stage.__name__ = name
    register.register_method(output_names=["y"])(one_stage)


method("identity", identity_fun)
method("raises", raise_fun)
method("partial", partial_fun)
method("partial_b", partial_batch_fun, batch_size=8)
method("badcount", badcount_fun)
method("text", text_fun)
method("zeros", zeros_fun)


@register.register_method(output_names=["y"])
def echo(x):
    return x


@register.register_method(output_names=["z", "a", "m"])
def three(b, a, c):
    return b, a, c
"""

IDENTITY = """\
from mindspore_serving.server import register


@register.register_method(output_names=["y"])
def identity(x):
    return x
"""

# One model, one method.
PLAIN_ADD = """\
from mindspore_serving.server import register

model = register.declare_model(model_file="tensor_add.mindir", model_format="MindIR", with_batch_dim=False)


@register.register_method(output_names=["y"])
def add(x1, x2):
    return register.add_stage(model, x1, x2, outputs_count=1)
"""

# No model, no stage.
ECHO = """\
from mindspore_serving.server import register


@register.register_method(output_names=["y"])
def echo(x):
    return x
"""
