"""Servable `language_model`: the full graph once for a prompt, then the incremental graph in a loop."""

import numpy as np

from mindspore_serving.server import register

STEPS = 10

model = register.declare_model(
    model_file=["prompt.mindir", "step.mindir"], model_format="MindIR", with_batch_dim=False
)


def best(scores):
    """The token with the highest score, as the model takes it."""
    return np.array([scores.argmax()], np.int32)


def generate_with_model(prompt):
    """A stage function that calls the model, subgraph by subgraph."""
    scores, state = model.call(prompt, subgraph=0)
    tokens = [best(scores)]
    for _ in range(STEPS):
        scores, state = model.call(tokens[-1], state, subgraph=1)
        tokens.append(best(scores))
    return np.concatenate(tokens)


@register.register_method(output_names=["tokens"])
def generate(prompt):
    return register.add_stage(generate_with_model, prompt, outputs_count=1)


@register.register_method(output_names=["scores", "state"])
def full(prompt):
    scores, state = register.call_servable(prompt, subgraph=0)
    return scores, state


@register.register_method(output_names=["scores", "state"])
def incremental(token, state):
    scores, state = register.call_servable(token, state, subgraph=1)
    return scores, state


run_full = register.PipelineServable(servable_name="language_model", method="full")
run_incremental = register.PipelineServable(servable_name="language_model", method="incremental")


@register.register_pipeline(output_names=["tokens"])
def generate_in_pipeline(prompt):
    """The same as a pipeline, which runs methods: other requests run between its steps."""
    scores, state = run_full.run(prompt)
    tokens = [best(scores)]
    for _ in range(STEPS):
        scores, state = run_incremental.run(tokens[-1], state)
        tokens.append(best(scores))
    return np.concatenate(tokens)
