"""A stub model, a Python stage, and a Python stage that waits at a gate, a named pipe beside this file.

The gate is an instance below zero: its stage goes on when the pipe, once opened for writing, is closed.
"""

from pathlib import Path

from mindspore_serving.server import register

GATE = Path(__file__).resolve().parent / "gate"

model = register.declare_model(model_file="tensor_add.mindir", model_format="MindIR", with_batch_dim=False)


def first(x1, x2):
    return x1


def at_the_gate(x):
    if x.flat[0] < 0:
        GATE.read_bytes()
    return x


@register.register_method(output_names=["y"])
def add(x1, x2):
    return register.add_stage(model, x1, x2, outputs_count=1)


@register.register_method(output_names=["y"])
def identity(x1, x2):
    return register.add_stage(first, x1, x2, outputs_count=1)


@register.register_method(output_names=["y"])
def gated(x):
    return register.add_stage(at_the_gate, x, outputs_count=1)
