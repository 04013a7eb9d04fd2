"""Two stages in a row, in one servable: what a call of another servable is compared with."""

import numpy as np

from mindspore_serving.server import register

WEIGHTS = np.eye(256, dtype=np.float32)


def plus_one(x):
    return x + 1


def twice(x):
    return x * 2


def computed_plus_one(x):
    return x + np.linalg.matrix_power(WEIGHTS, 2)[0, 0]


def computed_twice(x):
    return x * (1 + np.linalg.matrix_power(WEIGHTS, 2)[0, 0])


@register.register_method(output_names=["y"])
def quick(x):
    x = register.add_stage(plus_one, x, outputs_count=1)
    return register.add_stage(twice, x, outputs_count=1)


@register.register_method(output_names=["y"])
def computed(x):
    x = register.add_stage(computed_plus_one, x, outputs_count=1)
    return register.add_stage(computed_twice, x, outputs_count=1)
