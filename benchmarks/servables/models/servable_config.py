"""One network of the examples. The threads of each copy run on any core, or on a core of its own."""

import os

from mindspore_serving.server import register

cores = os.environ.get("BENCHMARK_CORES", "").split()
own = [int(cores[int(os.environ["SERVING_DEVICE_ID"])])] if cores else None
model = register.declare_model(
    model_file="model.mindir",
    model_format="MindIR",
    context=register.Context(thread_affinity_core_list=own) if own else None,
)


@register.register_method(output_names=["scores"])
def predict(x):
    return register.add_stage(model, x, outputs_count=1)
