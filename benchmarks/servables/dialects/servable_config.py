"""What every dialect asks for: methods that say what they take, and Python stages that do next to nothing."""

from mindspore_serving.server import register

matrix = register.TensorSpec("float32", [2, 2])
picture = register.TensorSpec("float32", [3, 224, 224])


def first(x1, x2):
    return x1


def copied(x):
    """As much work as `content`."""
    return x.copy()


def content(x):
    """An array goes back as bytes, as the native dialect sends large ones in JSON."""
    return x.tobytes()


@register.register_method(output_names=["y"], inputs={"x1": matrix, "x2": matrix}, outputs={"y": matrix})
def identity(x1, x2):
    return register.add_stage(first, x1, x2, outputs_count=1)


@register.register_method(output_names=["y"], inputs={"x": picture}, outputs={"y": picture})
def image(x):
    return register.add_stage(copied, x, outputs_count=1)


@register.register_method(output_names=["y"], inputs={"x": picture}, outputs={"y": register.Bytes()})
def image_bytes(x):
    return register.add_stage(content, x, outputs_count=1)
