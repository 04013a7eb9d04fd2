"""One network of the examples. The threads of each copy run on any core, or on a core of its own."""

import os

from mindspore_serving.server import register

cores = os.environ.get("BENCHMARK_CORES", "").split()
own = [int(cores[int(os.environ["SERVING_DEVICE_ID"])])] if cores else None
model = register.declare_model(
    model_file=os.environ["BENCHMARK_FILE"],
    model_format=os.environ["BENCHMARK_FORMAT"],
    context=register.Context(thread_affinity_core_list=own) if own else None,
    max_batch_size=int(os.environ["BENCHMARK_ROWS"]),
)


@register.register_method(output_names=["scores"])
def predict(x):
    return register.add_stage(model, x, outputs_count=1)
