"""What the main process and the process that reads large bodies say to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mindspore_serving.rows import Group
from mindspore_serving.tensor import DataType


@dataclass(frozen=True, slots=True)
class ReadBody:
    """Main to the body reader: read a body.

    Attributes:
        body_id: For the answer, another one for each body.
        body: As it was sent.
        coding: How it is compressed; empty if it is not.
        model_types: What models take, by input, for those inputs that go straight into one.
    """

    body_id: int
    body: bytes
    coding: str
    model_types: Mapping[str, DataType]


@dataclass(slots=True)
class BodyRead:
    """Body reader to main: instances of a body, in order; or one failure, if it cannot be read.

    Attributes:
        body_id: As in `ReadBody`.
        groups: Instances, or the failure.
        final: Whether no more of them follow.
    """

    body_id: int
    groups: tuple[Group, ...]
    final: bool
