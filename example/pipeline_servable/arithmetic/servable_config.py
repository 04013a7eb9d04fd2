"""Servable `arithmetic`: three subgraphs, a method for each, and pipelines that run these methods."""

from mindspore_serving.server import register

register.declare_servable(
    servable_file=["add.mindir", "sub.mindir", "add_and_sub.mindir"],
    model_format="MindIR",
    with_batch_dim=False,
)


# A stage has as many outputs as the names that its result is assigned to.
@register.register_method(output_names=["y"])
def add(x1, x2):
    y = register.call_servable(x1, x2, subgraph=0)
    return y  # noqa: RET504


@register.register_method(output_names=["y"])
def sub(x1, x2):
    y = register.call_servable(x1, x2, subgraph=1)
    return y  # noqa: RET504


@register.register_method(output_names=["y1", "y2"])
def add_and_sub(x1, x2, x3):
    y1, y2 = register.call_servable(x1, x2, x3, subgraph=2)
    return y1, y2


run_add = register.PipelineServable(servable_name="arithmetic", method="add")
run_sub = register.PipelineServable(servable_name="arithmetic", method="sub")
run_add_and_sub = register.PipelineServable(servable_name="arithmetic", method="add_and_sub")


@register.register_pipeline(output_names=["y1", "y2"])
def predict(x1, x2):
    """The sum and the difference."""
    return run_add.run(x1, x2), run_sub.run(x1, x2)


@register.register_pipeline(output_names=["x", "z"])
def predict_test(x1, x2, x3):
    """Any Python code may stand here: a loop whose length depends on results, and a condition."""
    y1, y2 = run_add_and_sub.run(x1, x2, x3)
    steps = 0
    while y1.max() < 100:
        y1 = run_add.run(y1, y1)
        steps += 1
    return (y1, y2) if steps else (y2, y1)
