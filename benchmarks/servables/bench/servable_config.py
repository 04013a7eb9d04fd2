"""What the benchmark asks for: small models, and Python stages that do next to nothing."""

from mindspore_serving.server import register

model = register.declare_model(model_file="add.mindir", model_format="MindIR")  # takes exactly 32 instances
single = register.declare_model(model_file="add_single.mindir", model_format="MindIR", with_batch_dim=False)


def first(x1, x2):
    return x1


def same(x):
    return x


def content(x):
    """Bytes come as an array of uint8; an array goes back as bytes."""
    return x.tobytes()


def swapped(x1, x2):
    return x2, x1


@register.register_method(output_names=["y"])
def add(x1, x2):
    return register.add_stage(model, x1, x2, outputs_count=1)


@register.register_method(output_names=["y"])
def add_single(x1, x2):
    return register.add_stage(single, x1, x2, outputs_count=1)


@register.register_method(output_names=["y"])
def identity(x1, x2):
    return register.add_stage(first, x1, x2, outputs_count=1)


@register.register_method(output_names=["y"])
def echo(x):
    return register.add_stage(same, x, outputs_count=1)


@register.register_method(output_names=["y"])
def as_bytes(x):
    return register.add_stage(content, x, outputs_count=1)


@register.register_method(output_names=["y"])
def three_stages(x1, x2):
    x2, x1 = register.add_stage(swapped, x1, x2, outputs_count=2)
    x2, x1 = register.add_stage(swapped, x1, x2, outputs_count=2)
    return register.add_stage(first, x1, x2, outputs_count=1)
