"""Names for clients that lie in a file beside a model, for the formats that have such a file."""

from __future__ import annotations

from pathlib import Path

from mindspore_serving.server.backend.paddle.given_names import GivenNames, read_given_names


def given_names_of(model: Path, model_format: str) -> GivenNames | None:
    """Names that a file beside a model gives to its inputs and outputs; None where there is none.

    Args:
        model: The model's file.
        model_format: Its format, as `declare_model` stores it.

    Raises:
        StartUpError: The file cannot be used.
    """
    return read_given_names(model.parent) if model_format == "paddle" else None
