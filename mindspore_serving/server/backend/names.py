"""Names for clients: of a file beside a model, for the formats that have one; and which names of a file are none."""

from __future__ import annotations

import re
from pathlib import Path

from mindspore_serving.server.backend.paddle.given_names import GivenNames, read_given_names

_NODE = re.compile(r"\w+:\d+(\[\d+\])?")
"""Outputs of MindIR have names of nodes of its graph, `CNode_80:20`, and `CNode_80:20[1]` where there are several."""


def is_node_of_graph(name: str, model_format: str) -> bool:
    """Whether an output has no name of its own, but that of a graph's node, which changes with each export.

    Args:
        name: As the file has it.
        model_format: Its format, as `declare_model` stores it.
    """
    return model_format in ("mindir", "mindir_lite") and _NODE.fullmatch(name) is not None


def given_names_of(model: Path, model_format: str) -> GivenNames | None:
    """Names that a file beside a model gives to its inputs and outputs; None where there is none.

    Args:
        model: The model's file.
        model_format: Its format, as `declare_model` stores it.

    Raises:
        StartUpError: The file cannot be used.
    """
    return read_given_names(model.parent) if model_format == "paddle" else None
