"""Servable `add_sub`: two models, one after the other, with Python functions between them."""

from mindspore_serving.server import register

# The first dimension of both files is the batch, and dynamic: instances are of shape [2, 2], and as many as are waiting
# go through a model in one call.
add_model = register.declare_model(model_file="tensor_add.mindir", model_format="MindIR")
sub_model = register.declare_model(model_file="tensor_sub.mindir", model_format="MindIR")


def increase(x):
    """Called with one instance: its only input."""
    return x + 1


def increase_all(instances):
    """Called with many instances at a time, each a tuple of its inputs; yields the output of each in turn."""
    for (x,) in instances:
        yield x + 1


@register.register_method(output_names=["y"])
def add_sub_only_model(x1, x2, x3):
    """x1 + x2 - x3."""
    y = register.add_stage(add_model, x1, x2, outputs_count=1)
    return register.add_stage(sub_model, y, x3, outputs_count=1)


@register.register_method(output_names=["y"])
def add_sub_complex(x1, x2, x3):
    """x1 + x2 + 1 - x3 + 1."""
    y = register.add_stage(add_model, x1, x2, outputs_count=1)
    y = register.add_stage(increase, y, outputs_count=1)
    y = register.add_stage(sub_model, y, x3, outputs_count=1)
    return register.add_stage(increase_all, y, outputs_count=1, batch_size=16)
