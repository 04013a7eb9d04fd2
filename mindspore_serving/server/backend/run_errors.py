"""What is reported when a loaded model does not run."""

from __future__ import annotations

from mindspore_serving.errors import ModelError


def run_failed(reason: object) -> ModelError:
    """The model failed.

    Args:
        reason: What its library says, or what is wrong with its outputs.
    """
    return ModelError(f"Serving Error: runtime error occurred: {reason}")


def model_closed() -> ModelError:
    """The model was unloaded before."""
    return run_failed("the model is closed")
