"""The servable_config.py of `add`: y = x1 + x2, FP32 [-1, 2]."""

from mindspore_serving.server import register

PAIR = register.TensorSpec("float32", [2])


def total(x1, x2):
    return x1 + x2


@register.register_method(output_names=["y"], inputs={"x1": PAIR, "x2": PAIR}, outputs={"y": PAIR})
def add(x1, x2):
    """The sum of two pairs."""
    return register.add_stage(total, x1, x2, outputs_count=1)
