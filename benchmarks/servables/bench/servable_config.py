"""What the benchmark asks for: a small model with a dynamic batch, and a Python stage that returns its input."""

from mindspore_serving.server import register

model = register.declare_model(model_file="add.mindir", model_format="MindIR")


def first(x1, x2):
    return x1


@register.register_method(output_names=["y"])
def add(x1, x2):
    return register.add_stage(model, x1, x2, outputs_count=1)


@register.register_method(output_names=["y"])
def identity(x1, x2):
    return register.add_stage(first, x1, x2, outputs_count=1)
