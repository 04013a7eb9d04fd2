"""Shared memory of one worker: where large tensors cross the process line without passing through the socket.

One anonymous file (memfd) per worker, created by the main process and inherited by the worker. It has no name, so it
vanishes with the last of the two processes, however they end. It is cut into regions, two for each slot of the copy: a
request region that main writes and the worker reads, and a reply region for the other way. A region belongs to the
batch that holds the slot, which makes an allocator needless; it is sparse, so only pages that were used take memory.
Several messages of one batch, such as results that are sent piecemeal, follow each other in the region: the reader may
not have read the one before.

Pages stay after use, so that the next batch finds them. They are given back by the side that hands the slots out, for
both sides: at once where a batch was very large, and else when the slots have not been used for a while. The other
side's mappings remain, and read as zeros.

Each mapping holds a copy of the descriptor, which Python makes unless it is told not to, and it can be told from 3.13
on: five per worker in a main process whose workers serve large tensors, one where they are idle.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Sequence

import numpy as np

from mindspore_serving.server.host.own_descriptor import identity
from mindspore_serving.server.host.standard_descriptors import open_standard_descriptors
from mindspore_serving.tensor import Array

REGION_SPAN = 1 << 36
"""Bytes of address space per region, far above the largest batch."""
_SMALLEST_MAPPING = 1 << 20
_KEEP = 64 << 20
"""A region that grew beyond this many bytes gives its pages back after use."""


class SharedMemory:
    """The regions of one worker, as seen from one side.

    Args:
        fd: File descriptor of the memfd; owned by this object.
        slots: Number of slots, each with a request and a reply region.
    """

    def __init__(self, fd: int, slots: int) -> None:
        self.fd = fd
        self._file = identity(fd)
        self._mappings: list[mmap.mmap | None] = [None] * (2 * slots)
        self._written: list[tuple[int, int]] = [(-1, 0)] * (2 * slots)

    @classmethod
    def create(cls, slots: int) -> SharedMemory:
        """Make the memory of a new worker.

        Raises:
            OSError: The system refuses an anonymous file of this size.
        """
        fd = os.memfd_create("mindspore_serving", os.MFD_CLOEXEC)
        try:
            os.ftruncate(fd, 2 * slots * REGION_SPAN)
        except OSError:
            os.close(fd)
            raise
        return cls(fd, slots)

    @staticmethod
    def request_region(slot: int) -> int:
        """Region that carries the instances of the batch in `slot`."""
        return 2 * slot

    @staticmethod
    def reply_region(slot: int) -> int:
        """Region that carries the results of the batch in `slot`."""
        return 2 * slot + 1

    def written(self, region: int, batch_id: int) -> int:
        """Bytes of a region that this side has written for a batch so far."""
        batch, size = self._written[region]
        return size if batch == batch_id else 0

    def set_written(self, region: int, batch_id: int, size: int) -> None:
        """Keep how many bytes of a region this side has written for a batch."""
        self._written[region] = (batch_id, size)

    def view(self, region: int, offset: int, size: int) -> Array:
        """Writable uint8 array over bytes offset..offset+size-1 of a region.

        Raises:
            OSError: The region cannot be mapped, or the bytes lie outside it; or user code has closed the descriptor,
                whose number may lead to another file by now.
        """
        if offset < 0 or size < 0 or offset + size > REGION_SPAN:
            raise OSError(f"bytes {offset} to {offset + size} lie outside a region of {REGION_SPAN} bytes")
        mapping = self._mappings[region]
        if mapping is None or len(mapping) < offset + size:
            if identity(self.fd) != self._file:
                raise OSError(
                    f"descriptor {self.fd} of Serving was closed by a function, or by a library that it uses"
                )
            # A mapping takes the lowest free number: what is printed must not go into the memory.
            open_standard_descriptors()
            length = max(_SMALLEST_MAPPING, 1 << (offset + size - 1).bit_length())
            mapping = mmap.mmap(self.fd, length, offset=region * REGION_SPAN)
            self._mappings[region] = mapping
        return np.frombuffer(mapping, np.uint8, size, offset)

    def release(self, slot: int, keep: int = _KEEP) -> bool:
        """Give the pages of a slot's regions back; nobody may use the slot meanwhile.

        Args:
            slot: The slot.
            keep: Bytes of a region that are not worth giving back.

        Returns:
            Whether there were pages to give back.
        """
        found = False
        for region in range(2 * slot, 2 * slot + 2):
            mapping = self._mappings[region]
            if mapping is not None and len(mapping) > keep:
                with contextlib.suppress(
                    OSError
                ):  # a process may have locked its memory; the pages then stay
                    mapping.madvise(mmap.MADV_REMOVE)
                self._mappings[region] = None
                found = True
        return found

    def close(self) -> None:
        """Drop this side's handle; safe to call twice."""
        self._mappings = [None] * len(self._mappings)
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class IdleSlots:
    """Gives the pages of slots back once no slot of them has been used for a while.

    One slot at a time: 100 MB take the system 15 ms, for which the event loop of the main process would stand still.

    Args:
        memory: The shared memory.
        slots: The slots, which this side hands out.
        idle_s: Seconds without use.
    """

    def __init__(self, memory: SharedMemory, slots: Sequence[int], idle_s: float) -> None:
        self._memory = memory
        self._slots = slots
        self._idle_s = idle_s
        self._uses = 0
        self._idle_since = 0.0
        self._used: list[int] = []

    def look(self, uses: int, in_use: bool, now: float) -> None:
        """Give the pages of a slot back if it is time; to be called again and again.

        Args:
            uses: A number that is another one after each use, 0 before the first.
            in_use: Whether a slot is in use.
            now: Monotonic time in seconds.
        """
        if in_use or uses != self._uses:
            self._uses, self._idle_since, self._used = uses, now, list(self._slots)
        elif now - self._idle_since >= self._idle_s:
            while self._used and not self._memory.release(self._used.pop(), keep=0):
                continue
