"""Servable `matmul`: one model that is spread over ranks, as many as were exported."""

from pathlib import Path

from mindspore_serving.server import distributed, register

RANKS = len(list((Path(__file__).resolve().parents[1] / "model").glob("device*")))

model = distributed.declare_servable(rank_size=RANKS, stage_size=1, with_batch_dim=False)


@register.register_method(output_names=["y"])
def predict(x):
    return register.add_stage(model, x, outputs_count=1)
