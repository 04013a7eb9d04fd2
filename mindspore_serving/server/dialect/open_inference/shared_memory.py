"""Shared memory that clients on this machine make, register by name, and use for inputs and outputs.

A region is a file in /dev/shm of the user who runs this server. It is read and written as a file, and never mapped: the
client may make it shorter at any time, and a process that then touches a mapping is killed by the kernel. To read costs
one copy, and what the file has then is what counts (ADR 54).

Everything here runs on the event loop.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
from pathlib import Path
from types import TracebackType
from typing import Final, NoReturn, Protocol, TypedDict

import numpy as np

from mindspore_serving.errors import (
    AlreadyExists,
    InvalidInput,
    NotOffered,
    NotPermitted,
    QueueFull,
    UnknownTarget,
    excerpt,
)
from mindspore_serving.private_files import kind_of, user_name
from mindspore_serving.server.host.memory_limit import share_of_memory

MOST_REGIONS: Final = 256
"""Regions at a time; each is an open file."""
MOST_PART_BYTES: Final = 1 << 29
"""Bytes that one tensor may have in a region, which is what the largest message may have."""
MOST_BYTES: Final = MOST_REGIONS * MOST_PART_BYTES
"""Bytes that all regions may have together. They are the client's memory, and need none of this process."""
LONGEST_NAME: Final = 256
OPTION: Final = "allow_client_shared_memory=True"
_FOLDER = Path("/dev/shm")
_KEY = re.compile(r"/[A-Za-z0-9_.-]{1,254}", re.ASCII)
_RESERVED = ("triton_python_backend_shm_region_", "sem.")
"""Beginnings of names that are others' own: those of Triton's Python backend, and semaphores of the C library."""
_PIECE = 1 << 22
"""Bytes that are copied in about a millisecond."""
_LARGEST_NUMBER = (1 << 63) - 1
"""Largest offset in a file."""


class Peer(Protocol):
    """The request of a client: of HTTP, or of gRPC."""

    def peer_is_own_user(self) -> bool:
        """Whether a process of the user who runs this server, or of root, is at the other end, on this machine."""


class RegionStatus(TypedDict):
    """What is told of a region.

    Attributes:
        name: Given by the client.
        key: Name of the shared memory, as `/name`.
        offset: Where the region begins in it, in bytes.
        byte_size: Bytes of the region.
    """

    name: str
    key: str
    offset: int
    byte_size: int


class _Region:
    """One region; its file stays open as long as it is registered or used."""

    def __init__(self, status: RegionStatus, descriptor: int) -> None:
        self.status = status
        self._descriptor = descriptor
        self._users = 1  # the registration is one

    def __repr__(self) -> str:
        return f"<region {self.status['name']} {self.status['key']} {self._users} users>"

    def take(self) -> int:
        """Use it; returns the descriptor of its file."""
        self._users += 1
        return self._descriptor

    def leave(self) -> None:
        """Use it no longer."""
        self._users -= 1
        if not self._users:
            os.close(self._descriptor)


class RegionPart:
    """A part of a region, which stays there while the `with` block runs, whatever is unregistered meanwhile.

    Args:
        region: Of which.
        offset: Where it begins in the region, in bytes.
        byte_size: Its size.

    Attributes:
        byte_size: As above.
    """

    def __init__(self, region: _Region, offset: int, byte_size: int) -> None:
        self.byte_size = byte_size
        self._region = region
        self._at = region.status["offset"] + offset
        self._descriptor: int | None = region.take()

    def __enter__(self) -> RegionPart:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Use it no longer. Safe to call twice."""
        if self._descriptor is not None:
            self._descriptor = None
            self._region.leave()

    async def read(self) -> memoryview:
        """A copy of the bytes of this part; others have their turns while there are many to read.

        Raises:
            InvalidInput: The shared memory has become too small.
        """
        content = np.empty(self.byte_size, np.uint8).data
        for at in range(0, self.byte_size, _PIECE):
            if at:
                await asyncio.sleep(0)
            self._read_piece(content[at : at + _PIECE], self._at + at)
        return content

    async def write(self, data: bytes | memoryview) -> None:
        """Write to the beginning of this part; others have their turns while there is much to write.

        Args:
            data: At most as many bytes as the part has.

        Raises:
            InvalidInput: The shared memory, or the part, is too small.
        """
        content = memoryview(data).cast("B") if len(data) else memoryview(b"")
        if len(content) > self.byte_size:
            raise InvalidInput(
                f"An output of {len(content)} bytes does not fit into {self.byte_size} bytes of shared memory region "
                f"'{excerpt(self._region.status['name'])}'"
            )
        self._check_size(self._at + len(content))
        for at in range(0, len(content), _PIECE):
            if at:
                await asyncio.sleep(0)
            self._write_piece(content[at : at + _PIECE], self._at + at)

    def _read_piece(self, content: memoryview, at: int) -> None:
        read = 0
        while read < len(content):
            count = os.preadv(self._open_file(), [content[read:]], at + read)
            if not count:
                raise self._too_small()
            read += count

    def _write_piece(self, content: memoryview, at: int) -> None:
        self._check_size(at + len(content))
        written = 0
        while written < len(content):
            try:
                written += os.pwrite(self._open_file(), content[written:], at + written)
            except OSError as cause:  # for example no space is left in /dev/shm
                raise InvalidInput(
                    f"Shared memory region '{excerpt(self._region.status['name'])}' cannot be written: {cause.strerror}"
                ) from cause

    def _check_size(self, end: int) -> None:
        """Check that the file reaches an end: to write behind its own would make it longer."""
        if os.fstat(self._open_file()).st_size < end:
            raise self._too_small()

    def _open_file(self) -> int:
        if self._descriptor is None:
            raise ValueError("The part of the region is closed")
        return self._descriptor

    def _too_small(self) -> InvalidInput:
        status = self._region.status
        return InvalidInput(
            f"Shared memory '{status['key']}' has become too small for region '{excerpt(status['name'])}', which "
            f"begins at {status['offset']} and has {status['byte_size']} bytes: register it with the size that it has"
        )


class SharedMemoryRegions:
    """The regions that clients have registered.

    Args:
        allowed: Whether clients may use shared memory at all.
        folder: Where the system has shared memory.
        most_read: Bytes that requests may have read from shared memory together; a request that is the only one may
            read what it likes. None for a share of this machine's memory.

    Attributes:
        allowed: As above; may be set later.
    """

    def __init__(self, allowed: bool = False, folder: Path = _FOLDER, most_read: int | None = None) -> None:
        self.allowed = allowed
        self._folder = folder
        self._most_read = share_of_memory() if most_read is None else most_read
        self._read = 0
        self._regions: dict[str, _Region] = {}

    def __repr__(self) -> str:
        return f"<SharedMemoryRegions {list(self._regions.values())}>"

    def register(self, name: str, key: str, offset: int, byte_size: int, peer: Peer) -> None:
        """Register a region.

        Args:
            name: What requests call it.
            key: Name of the shared memory, as `/name`.
            offset: Where the region begins in it, in bytes.
            byte_size: Bytes of the region.
            peer: Who asks.

        Raises:
            NotOffered: Shared memory is not allowed.
            NotPermitted: The client is not on this machine, or of another user.
            AlreadyExists: There is a region of that name.
            InvalidInput: There are too many; or the shared memory is not there, is not a file of this user, or is too
                small.
        """
        self._check(peer)
        if not 0 < len(name) <= LONGEST_NAME:
            raise InvalidInput(
                f"The name of a shared memory region should have 1 to {LONGEST_NAME} characters, but got {len(name)}"
            )
        _check_key(name, key)
        _check_range(name, offset, byte_size)
        if name in self._regions:
            raise AlreadyExists(
                f"shared memory region '{name}' is registered already: unregister it first, or use another name"
            )
        held = [region.status["byte_size"] for region in self._regions.values()]
        if len(held) >= MOST_REGIONS or sum(held) + byte_size > MOST_BYTES:
            raise InvalidInput(
                f"failed to register shared memory region '{name}': at most {MOST_REGIONS} regions with {MOST_BYTES} "
                f"bytes together may be registered, unregister some"
            )
        descriptor = self._open_file(name, key)
        try:
            _check_file(name, key, offset + byte_size, os.fstat(descriptor))
        except BaseException:
            os.close(descriptor)
            raise
        status = RegionStatus(name=name, key=key, offset=offset, byte_size=byte_size)
        self._regions[name] = _Region(status, descriptor)

    def unregister(self, name: str, peer: Peer) -> None:
        """Forget a region; requests that use it go on. One that is not registered is no error.

        Args:
            name: Of the region; "" for all.
            peer: Who asks.

        Raises:
            NotOffered: As `register`.
            NotPermitted: As `register`.
        """
        self._check(peer)
        for known in [name] if name else list(self._regions):
            region = self._regions.pop(known, None)
            if region is not None:
                region.leave()

    def status(self, name: str, peer: Peer) -> list[RegionStatus]:
        """What there is.

        Args:
            name: Of a region; "" for all.
            peer: Who asks.

        Raises:
            NotOffered: As `register`.
            NotPermitted: As `register`.
            UnknownTarget: There is no region of that name.
        """
        self._check(peer)
        if not name:
            return [region.status for region in self._regions.values()]
        return [self._region(name).status]

    def open(self, name: str, offset: int, byte_size: int, peer: Peer) -> RegionPart:
        """A part of a region, to be used in a `with` block.

        Args:
            name: Of the region.
            offset: Where the part begins in it, in bytes.
            byte_size: Bytes of the part; may be 0.
            peer: Who asks.

        Raises:
            NotOffered: As `register`.
            NotPermitted: As `register`.
            UnknownTarget: There is no region of that name.
            InvalidInput: The part is not within the region, or too large.
        """
        self._check(peer)
        region = self._region(name)
        whole = region.status["byte_size"]
        if not 0 <= offset <= whole or not 0 <= byte_size <= whole - offset:
            raise InvalidInput(
                f"Invalid offset {_shown(offset)} and byte size {_shown(byte_size)} for shared memory region "
                f"'{excerpt(name)}', which has {whole} bytes"
            )
        if byte_size > MOST_PART_BYTES:
            raise InvalidInput(
                f"A tensor in shared memory may have {MOST_PART_BYTES} bytes at most, but got {byte_size} for region "
                f"'{excerpt(name)}'"
            )
        return RegionPart(region, offset, byte_size)

    def count_read(self, byte_size: int) -> None:
        """Count bytes that a request is about to read: a region may be larger than what it takes of the memory.

        Args:
            byte_size: Bytes.

        Raises:
            QueueFull: Other requests hold too many.
        """
        if self._read and self._read + byte_size > self._most_read:
            raise QueueFull(
                f"Serving Error: bytes that requests have read from shared memory exceed the limit {self._most_read}"
            )
        self._read += byte_size

    def forget_read(self, byte_size: int) -> None:
        """Count bytes no more that a request has read.

        Args:
            byte_size: As given to `count_read`.
        """
        self._read -= byte_size

    def close(self) -> None:
        """Forget all regions. Safe to call twice."""
        regions, self._regions = self._regions, {}
        for region in regions.values():
            region.leave()

    def refuse_cuda(self, peer: Peer) -> NoReturn:
        """Refuse what asks for shared memory of CUDA devices, which this server does not have.

        Args:
            peer: Who asks.

        Raises:
            NotOffered: Always, unless the client may use no shared memory at all.
            NotPermitted: That is so.
        """
        self._check(peer)
        raise NotOffered("CUDA shared memory is not supported, only system shared memory is")

    def _check(self, peer: Peer) -> None:
        if not self.allowed:
            raise NotOffered(
                f"Shared memory of clients is not allowed by this server: start it with start_servables(..., {OPTION})"
            )
        if not peer.peer_is_own_user():
            raise NotPermitted(
                "Shared memory is only for clients on the machine of this server and of its user: connect over the "
                f"loopback interface or the Unix socket, as {user_name(os.geteuid())}"
            )

    def _region(self, name: str) -> _Region:
        region = self._regions.get(name)
        if region is None:
            raise UnknownTarget(f"Unable to find shared memory region: '{excerpt(name)}'")
        return region

    def _open_file(self, name: str, key: str) -> int:
        """Open a shared memory, whatever it is; a FIFO is not waited for.

        Raises:
            InvalidInput: It is not there, is a link, or may not be opened.
        """
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            folder = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                return os.open(key[1:], flags, dir_fd=folder)
            finally:
                os.close(folder)
        except OSError as cause:
            raise InvalidInput(
                f"Unable to open shared memory region '{excerpt(name)}' with key '{key}': {cause.strerror}"
            ) from cause


def _check_key(name: str, key: str) -> None:
    """Check the name of a shared memory: of one component, which is nobody else's.

    Raises:
        InvalidInput: It is not such a name.
    """
    if not _KEY.fullmatch(key) or key in ("/.", "/.."):
        raise InvalidInput(
            f"failed to register shared memory region '{name}': key should be a slash and a name of letters, digits, "
            f"'_', '.' and '-', but got '{excerpt(key)}'"
        )
    for prefix in _RESERVED:
        if key[1:].startswith(prefix):
            raise InvalidInput(
                f"cannot register shared memory region '{name}' with key '{excerpt(key)}': names that begin with "
                f"'{prefix}' are reserved"
            )


def _check_range(name: str, offset: int, byte_size: int) -> None:
    """Check that a region may be somewhere in a file.

    Raises:
        InvalidInput: It cannot.
    """
    if offset < 0 or byte_size <= 0 or offset + byte_size > _LARGEST_NUMBER:
        raise InvalidInput(
            f"failed to register shared memory region '{name}': invalid offset {_shown(offset)} and byte size "
            f"{_shown(byte_size)}, expected are an offset of 0 or more, and a byte size of 1 or more"
        )


def _check_file(name: str, key: str, end: int, found: os.stat_result) -> None:
    """Check what was opened.

    Args:
        name: Of the region.
        key: Of the shared memory.
        end: Bytes that it has to have.
        found: What the system says of it.

    Raises:
        InvalidInput: It is no file, another user's, or too small.
    """
    if not stat.S_ISREG(found.st_mode):
        reason = f"it is {kind_of(found.st_mode)}, expected is a shared memory"
    elif found.st_uid != os.geteuid():
        reason = f"it belongs to another user, expected is {user_name(os.geteuid())}"
    elif found.st_size < end:
        reason = f"it has {found.st_size} bytes, but the region ends at {end}"
    else:
        return
    raise InvalidInput(f"failed to register shared memory region '{name}' with key '{key}': {reason}")


def _shown(number: int) -> str:
    """A number of any length, for an error text."""
    return str(number) if -_LARGEST_NUMBER <= number <= 2 * _LARGEST_NUMBER + 1 else "beyond 64 bits"
