"""A stage that takes 10 ms for an instance and does nothing: what it can do per second is known."""

import time

from mindspore_serving.server import register


def wait(x):
    time.sleep(0.01)
    return x.sum()


@register.register_method(output_names=["y"])
def total(x):
    return register.add_stage(wait, x, outputs_count=1)
