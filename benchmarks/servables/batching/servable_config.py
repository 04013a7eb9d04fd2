"""Sums that come with the number of instances that ran together: of a model, and of a Python function."""

import numpy as np

from mindspore_serving.server import register

model = register.declare_model(model_file="counted_add.mindir", model_format="MindIR", max_batch_size=32)


def counted(instances):
    count = np.array([len(instances)], np.float32)
    for x1, x2 in instances:
        yield x1 + x2, count


@register.register_method(output_names=["y", "count"])
def by_model(x1, x2):
    y, count = register.add_stage(model, x1, x2, outputs_count=2)
    return y, count


@register.register_method(output_names=["y", "count"])
def by_function(x1, x2):
    y, count = register.add_stage(counted, x1, x2, outputs_count=2, batch_size=32)
    return y, count
