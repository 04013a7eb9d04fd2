"""The first of two stages; the second one is called from another servable."""

import numpy as np

from mindspore_serving.server import register

WEIGHTS = np.eye(256, dtype=np.float32)


def plus_one(x):
    return x + 1


def computed_plus_one(x):
    return x + np.linalg.matrix_power(WEIGHTS, 2)[0, 0]


@register.register_method(output_names=["y"])
def quick(x):
    x = register.add_stage(plus_one, x, outputs_count=1)
    return register.call("second", "quick", x)


@register.register_method(output_names=["y"])
def computed(x):
    x = register.add_stage(computed_plus_one, x, outputs_count=1)
    return register.call("second", "computed", x)
