"""Names that Paddle Serving has given to a model: its serving_server_conf.prototxt, beside the model's files.

Each input and output of the model has a name in the file of the model, as `fc_0.tmp_1`, and an alias for clients, as
`price`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from mindspore_serving.errors import StartUpError, text_of
from mindspore_serving.proto.foreign import paddle_model_config_pb2

GIVEN_NAMES = "serving_server_conf.prototxt"


@dataclass(frozen=True, slots=True)
class GivenNames:
    """Inputs and outputs as clients see them, in the order of the file.

    Attributes:
        inputs: Pairs of the name in the model and the name for clients.
        outputs: Likewise; outputs of the model that are not here are not given to clients.
    """

    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]


def read_model_config(path: Path, advice: str) -> Any:
    """Read a serving_server_conf.prototxt.

    Args:
        path: The file.
        advice: What to do where it cannot be read, for the text of the error.

    Returns:
        A `GeneralModelConfig`; fields that it does not have are left out.

    Raises:
        StartUpError: The file cannot be read, or is damaged.
    """
    try:
        return text_format.Parse(
            path.read_text(encoding="utf-8"),
            paddle_model_config_pb2.GeneralModelConfig(),
            allow_unknown_field=True,
        )
    except (OSError, UnicodeDecodeError, RecursionError, text_format.ParseError) as cause:
        raise StartUpError(f"'{path}' cannot be read: {text_of(cause)}; {advice}") from cause


def read_given_names(folder: Path) -> GivenNames | None:
    """Names that a folder gives to its model; None where it gives none.

    Args:
        folder: The folder of the model's files.

    Raises:
        StartUpError: The file cannot be read, is damaged, or has no input or output.
    """
    path = folder / GIVEN_NAMES
    if not path.exists():
        return None
    message = read_model_config(path, "without it, the model's own names hold")
    return GivenNames(
        _pairs(path, "feed_var", message.feed_var), _pairs(path, "fetch_var", message.fetch_var)
    )


def _pairs(path: Path, field: str, variables: Sequence[Any]) -> tuple[tuple[str, str], ...]:
    """Name and alias of each variable.

    Raises:
        StartUpError: There is none, one has no name, or two have the same.
    """
    pairs = tuple((one.name, one.alias_name or one.name) for one in variables)
    problem = ""
    if not pairs:
        problem = f"has no {field}"
    elif not all(name for name, _ in pairs):
        problem = f"has a {field} without a name"
    elif any(len(set(column)) < len(pairs) for column in zip(*pairs, strict=True)):
        problem = f"has two {field} of one name: {', '.join(f'{name} ({alias})' for name, alias in pairs)}"
    if problem:
        raise StartUpError(f"'{path}' {problem}")
    return pairs
