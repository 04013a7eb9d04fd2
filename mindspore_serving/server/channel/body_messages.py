"""What the main process and the process that reads large bodies say to each other."""

from __future__ import annotations

from dataclasses import dataclass

from mindspore_serving.rows import Group


@dataclass(frozen=True, slots=True)
class ReadBody:
    """Main to the body reader: read a body.

    Attributes:
        body_id: For the answer, another one for each body.
        body: As it was sent.
        coding: How it is compressed; empty if it is not.
        function: What reads it, `module:function`.
        argument: What the function is given, a JSON document.
    """

    body_id: int
    body: bytes
    coding: str
    function: str
    argument: bytes


@dataclass(slots=True)
class BodyRead:
    """Body reader to main: instances of a body in order, and at last what else it says, or why it cannot be read.

    Attributes:
        body_id: As in `ReadBody`.
        groups: Instances; in the final message a JSON document as an instance of bytes, or the failure.
        final: Whether no more of them follow.
    """

    body_id: int
    groups: tuple[Group, ...]
    final: bool
