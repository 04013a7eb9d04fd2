"""A model, and functions that give back what they get: arrays as they are, texts backwards."""

from mindspore_serving.server import register

model = register.declare_model(model_file="counted_add.mindir", model_format="MindIR", max_batch_size=32)


def same(x):
    return x


def backwards(text):
    return text[::-1]


@register.register_method(output_names=["y"])
def add(x1, x2):
    y, _ = register.add_stage(model, x1, x2, outputs_count=2)
    return y


@register.register_method(output_names=["y"])
def echo(x):
    return register.add_stage(same, x, outputs_count=1)


@register.register_method(output_names=["y"])
def reverse(text):
    return register.add_stage(backwards, text, outputs_count=1)
