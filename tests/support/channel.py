"""Any message of the channel, and those that do not belong to a conversation."""

from __future__ import annotations

import struct
from typing import Any

from mindspore_serving.server.channel.frames import FrameSplitter, Incoming, Message, message_of
from mindspore_serving.server.channel.memory import SharedMemory

ANY = Incoming[Message](Message)
"""Takes what belongs to any conversation."""


def decoded(frame: bytes, memory: SharedMemory | None = None, *, own: bool = False) -> Message:
    """The message in one frame."""
    [(kind, body)] = FrameSplitter().feed(frame)
    return message_of(kind, body, ANY, memory, own=own)


def foreign_frames(among: Incoming[Any]) -> dict[str, bytes]:
    """A frame of each kind of message that does not belong to a conversation, by its name."""
    return {
        codec.name: struct.pack("<IB3x", 2, kind) + b"{}"
        for kind, codec in ANY.codecs.items()
        if kind not in among.codecs
    }
