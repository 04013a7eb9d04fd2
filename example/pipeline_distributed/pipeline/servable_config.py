"""Servable `pipeline`: one model of two subgraphs, spread over two ranks, and a pipeline that runs both."""

from mindspore_serving.server import distributed, register

STEPS = 10

distributed.declare_servable(rank_size=2, stage_size=1, with_batch_dim=False)


def double(x):
    return x + x


@register.register_method(output_names=["y"])
def fun1(x):
    """The full graph, after a Python function."""
    x = register.call_preprocess(double, x)
    y = register.call_servable(x, subgraph=0)
    return y  # noqa: RET504


@register.register_method(output_names=["z"])
def fun2(y):
    """The incremental graph."""
    z = register.call_servable(y, subgraph=1)
    return z  # noqa: RET504


run_full = register.PipelineServable(servable_name="pipeline", method="fun1")
run_increment = register.PipelineServable(servable_name="pipeline", method="fun2")


@register.register_pipeline(output_names=["x", "z"])
def predict(x):
    """The full graph once, and the incremental graph ten times."""
    x = run_full.run(x)
    z = x
    for _ in range(STEPS):
        z = run_increment.run(z)
    return x, z
