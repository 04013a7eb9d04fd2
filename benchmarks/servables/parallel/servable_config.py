"""A method whose only stage keeps a core busy with Python for some milliseconds."""

from mindspore_serving.server import register

ROUNDS = 60_000


def spin(x1, x2):
    total = 0
    for i in range(ROUNDS):
        total += i & 1
    return x1 * 0 + total


@register.register_method(output_names=["y"])
def busy(x1, x2):
    return register.add_stage(spin, x1, x2, outputs_count=1)
