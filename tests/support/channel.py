"""Any message of the channel."""

from __future__ import annotations

from mindspore_serving.server.channel.frames import FrameSplitter, Incoming, Message, message_of
from mindspore_serving.server.channel.memory import SharedMemory

ANY = Incoming[Message](Message)
"""Takes what belongs to any conversation."""


def decoded(frame: bytes, memory: SharedMemory | None = None, *, own: bool = False) -> Message:
    """The message in one frame."""
    [(kind, body)] = FrameSplitter().feed(frame)
    return message_of(kind, body, ANY, memory, own=own)
