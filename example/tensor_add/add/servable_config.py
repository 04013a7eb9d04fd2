"""Servable `add`: the sum of two 2x2 matrices."""

import numpy as np

from mindspore_serving.server import register

# Without a batch dimension the model takes one instance at a time, of exactly the 2x2 that it was exported with.
model = register.declare_model(model_file="tensor_add.mindir", model_format="MindIR", with_batch_dim=False)


def as_float32(x1, x2):
    return x1.astype(np.float32), x2.astype(np.float32)


@register.register_method(output_names=["y"])
def add_common(x1, x2):
    """The model alone: both inputs must be float32."""
    return register.add_stage(model, x1, x2, outputs_count=1)


@register.register_method(output_names=["y"], examples=[{"x1": [[1, 2], [3, 4]], "x2": [[5, 6], [7, 8]]}])
def add_cast(x1, x2):
    """A Python function before the model: inputs of any numeric type."""
    x1, x2 = register.add_stage(as_float32, x1, x2, outputs_count=2)
    return register.add_stage(model, x1, x2, outputs_count=1)
