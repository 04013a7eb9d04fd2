"""Frames of the channel: how messages become bytes of a stream, and how a stream is cut into messages.

A frame is `length u32 | kind u8 | 3 zero bytes | body`; `length` counts the body. All numbers are little-endian, and
every tensor starts at a multiple of 8 bytes from the body's start. Bodies are described in `control` (messages without
instances) and `instances` (those that carry some).

Each end of a conversation takes the messages that belong to it, and no others: the body of another one is not read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Generic, TypeAlias, TypeVar, get_args

from mindspore_serving.errors import ChannelError, excerpt
from mindspore_serving.server.channel import agent_messages as agents
from mindspore_serving.server.channel import body_messages as bodies
from mindspore_serving.server.channel import cluster_messages as cluster
from mindspore_serving.server.channel import messages as workers
from mindspore_serving.server.channel.control import ControlCodec
from mindspore_serving.server.channel.instances import InstancesCodec, RegionOf, carries_instances
from mindspore_serving.server.channel.memory import SharedMemory

LARGEST_FRAME = 1 << 30
"""Bytes of a body that a reader accepts."""

Message: TypeAlias = (
    workers.FromWorker
    | workers.ToWorker
    | cluster.FromMember
    | cluster.ToMember
    | agents.FromAgent
    | agents.ToAgent
    | bodies.ReadBody
    | bodies.BodyRead
)
Buffer = bytes | bytearray | memoryview

_FRAME = struct.Struct("<IB3x")
_FRAME_BYTES = _FRAME.size
_KINDS: dict[type, int] = {
    workers.Register: 1,
    workers.StartFailed: 2,
    workers.Exiting: 3,
    workers.Stop: 4,
    workers.Batch: 5,
    workers.Result: 6,
    workers.ModelCall: 7,
    workers.ModelReply: 8,
    workers.WantModels: 9,
    workers.HeldModels: 10,
    workers.Alive: 11,
    cluster.Challenge: 12,
    cluster.Join: 13,
    cluster.Welcome: 14,
    cluster.JoinRefused: 15,
    agents.AgentHello: 16,
    agents.AgentSettings: 17,
    agents.AgentsGathered: 18,
    agents.AgentReady: 19,
    agents.AgentsAccepted: 20,
    agents.AgentFailed: 21,
    agents.ReloadGraph: 22,
    workers.MoveLog: 23,
    agents.RunGraph: 24,
    agents.GraphResult: 25,
    bodies.ReadBody: 26,
    bodies.BodyRead: 27,
    workers.MethodCall: 28,
    workers.MethodReply: 29,
}
_REGIONS: dict[type, RegionOf] = {
    workers.Batch: SharedMemory.request_region,
    workers.ModelCall: SharedMemory.request_region,
    workers.Result: SharedMemory.reply_region,
    workers.ModelReply: SharedMemory.reply_region,
    workers.MethodCall: SharedMemory.request_region,
    workers.MethodReply: SharedMemory.reply_region,
}
"""Which region of its slot carries the large data of a message."""


def _codec_of(kind: type) -> ControlCodec | InstancesCodec:
    if carries_instances(kind):
        return InstancesCodec(kind, _REGIONS.get(kind))
    return ControlCodec(kind)


_CODECS = {kind: _codec_of(kind) for kind in get_args(Message)}
_WRITERS = {kind: (_KINDS[kind], codec.parts_of) for kind, codec in _CODECS.items()}

_Expected = TypeVar("_Expected")


class Incoming(Generic[_Expected]):
    """The messages that one end of a conversation takes.

    Args:
        union: Their types.

    Attributes:
        codecs: By the kind of their frames.
    """

    def __init__(self, union: Any) -> None:
        kinds = get_args(union) or (union,)
        self.codecs = {_KINDS[kind]: _CODECS[kind] for kind in kinds}

    def __repr__(self) -> str:
        return f"<Incoming {self.names}>"

    @property
    def names(self) -> str:
        """Names of the messages."""
        return ", ".join(sorted(codec.name for codec in self.codecs.values()))


FROM_WORKER = Incoming[workers.FromWorker](workers.FromWorker)
TO_WORKER = Incoming[workers.ToWorker](workers.ToWorker)
FROM_MEMBER = Incoming[cluster.FromMember](cluster.FromMember)
TO_MEMBER = Incoming[cluster.ToMember](cluster.ToMember)
FROM_AGENT = Incoming[agents.FromAgent](agents.FromAgent)
TO_AGENT = Incoming[agents.ToAgent](agents.ToAgent)
TO_BODY_READER = Incoming[bodies.ReadBody](bodies.ReadBody)
FROM_BODY_READER = Incoming[bodies.BodyRead](bodies.BodyRead)

_NAMES = {number: kind.__name__ for kind, number in _KINDS.items()}


def frame_of(message: Message, memory: SharedMemory | None = None) -> bytes:
    """One message as bytes to write.

    Args:
        message: What to send.
        memory: Shared memory of the worker, where large data goes; None sends everything in the frame.

    Returns:
        The whole frame, or for very large inline data still one byte string.

    Raises:
        OSError: Shared memory cannot be had.
    """
    number, parts_of = _WRITERS[type(message)]
    parts = parts_of(message, memory)
    parts[0] = _FRAME.pack(sum(map(len, parts)), number)
    return b"".join(parts)


def message_of(
    kind: int,
    body: memoryview,
    among: Incoming[_Expected],
    memory: SharedMemory | None = None,
    *,
    own: bool = False,
) -> _Expected:
    """Decode one frame.

    Args:
        kind: As `FrameSplitter.feed` gave it.
        body: Likewise.
        among: What may come.
        memory: Shared memory of the worker; None where there is none.
        own: Copy data out of shared memory, for a receiver that outlives the slot. Data that travelled inline is
            writable only if the body is.

    Returns:
        The message; array columns view the body or the shared memory.

    Raises:
        ChannelError: The message is none that may come, or the body is not what its kind promises.
    """
    codec = among.codecs.get(kind)
    if codec is None:
        name = _NAMES.get(kind, f"frame of kind {kind}")
        raise ChannelError(f"Channel got a {name}, expected one of {among.names}")
    try:
        message: _Expected = codec.read(body, memory, own)
    except (ValueError, TypeError, IndexError, OverflowError, struct.error, OSError) as cause:
        reason = excerpt(str(cause), 500)
        raise ChannelError(f"Channel got a {codec.name} that cannot be read: {reason}") from cause
    return message


class FrameSplitter:
    """Cuts a byte stream into frames; keeps what is not complete yet.

    Attributes:
        largest: Most bytes of a body.
    """

    def __init__(self, largest: int = LARGEST_FRAME) -> None:
        self.largest = largest
        self._pending = bytearray()
        self._wanted = _FRAME_BYTES

    def feed(self, data: Buffer) -> Iterator[tuple[int, memoryview]]:
        """Take the next bytes of the stream.

        Yields:
            Kind and body of each frame that is complete now. A body stays valid as long as it is referenced.

        Raises:
            ChannelError: The bytes cannot be a frame: the kind is unknown, or the length above `largest`.
        """
        if self._pending:
            self._pending += data
            if len(self._pending) < self._wanted:
                return
            data, self._pending = self._pending, bytearray()
        view = memoryview(data)
        at, size = 0, len(view)
        while size - at >= _FRAME_BYTES:
            length, kind = _FRAME.unpack_from(view, at)
            if length > self.largest or not 1 <= kind <= len(_KINDS):
                raise ChannelError(f"Channel got a frame of kind {kind} and {length} bytes, which is none")
            begin = at + _FRAME_BYTES
            end = begin + length
            if end > size:
                break
            yield kind, view[begin:end]
            at = end
        else:
            length = 0
        if at < size:
            self._pending = bytearray(view[at:])
            self._wanted = _FRAME_BYTES + length if len(self._pending) >= _FRAME_BYTES else _FRAME_BYTES
