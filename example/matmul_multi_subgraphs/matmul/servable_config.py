"""Servable `matmul`: one model that consists of two files, its subgraphs 0 and 1."""

from mindspore_serving.server import register

model = register.declare_model(
    model_file=["matmul_0.mindir", "matmul_1.mindir"], model_format="MindIR", with_batch_dim=False
)


def add_subgraphs(x, y):
    """Called with one instance; each call runs one subgraph."""
    return model.call(x, subgraph=0) + model.call(y, subgraph=1)


@register.register_method(output_names=["z"])
def predict(x, y):
    return register.add_stage(add_subgraphs, x, y, outputs_count=1)
