"""Shared memory in which a worker writes down what it calls, so that the main process sees a call that does not end.

A worker cannot watch itself: native code may hold the interpreter's lock. So before each call of a function or model
it writes what it calls and when, and clears that afterwards; the main process looks from time to time. One anonymous
file (memfd) per worker, made by the main process, mapped by both:

    begins   i64 per record: when its call began, in nanoseconds of the monotonic clock, which both processes share; 0
             where none runs, or the clock stands still
    serials  i64 per record: a number that is another one for each call
    details  per record: text_len u16 | ranges u16 | text | at byte 1008 the ranges, three u32 each

A record belongs to one thread at a time. Details are written while the record's `begins` is 0, and hold as long as
`begins` and `serials` stay the same: the reader looks at these again afterwards, so that no lock is needed.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

RECORDS = 256
"""Calls that can be written down at a time."""
TRACEBACK_SIGNAL = signal.SIGUSR2
"""Lets a worker that writes down its calls tell where its threads are, and end."""
LONGEST_TEXT = 1000
"""Bytes of text that are kept of a call."""
MOST_RANGES = 64
"""Ranges of instances that are kept of a call."""

_HEAD = struct.Struct("<HH")
_RANGES_AT = 1008
_UNKNOWN = 0xFFFF
_RECORD_BYTES = 2048
_DETAILS_AT = 2 * 8 * RECORDS
_SIZE = _DETAILS_AT + RECORDS * _RECORD_BYTES


class HeldRows(NamedTuple):
    """Neighbouring instances of a batch of the main process.

    Attributes:
        batch_id: Number of the batch.
        start: Index in the batch of the first of them.
        size: How many.
    """

    batch_id: int
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class WrittenCall:
    """A call as it was written down.

    Attributes:
        text: What its instances get as an error if the call does not end.
        rows: The instances that it was made for; None if the worker could not tell.
    """

    text: str
    rows: tuple[HeldRows, ...] | None


class CallPage:
    """The calls of one worker, as seen from one side.

    Args:
        fd: File descriptor of the memfd; owned by this object.

    Raises:
        OSError: It cannot be mapped.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._mapping = mmap.mmap(fd, _SIZE)
        numbers = memoryview(self._mapping)[:_DETAILS_AT].cast("q")
        self._begins, self._serials = numbers[:RECORDS], numbers[RECORDS:]

    @classmethod
    def create(cls) -> CallPage:
        """Make the memory of a new worker.

        Raises:
            OSError: The system refuses it.
        """
        fd = os.memfd_create("mindspore_serving_calls", os.MFD_CLOEXEC)
        try:
            os.ftruncate(fd, _SIZE)
            return cls(fd)
        except OSError:
            os.close(fd)
            raise

    def begin(self, record: int, now: int, text: bytes, rows: Sequence[HeldRows]) -> None:
        """Write a call down.

        Args:
            record: Where; another call that is there ends with that.
            now: Monotonic time in nanoseconds.
            text: As of `WrittenCall`, in UTF-8.
            rows: As of `WrittenCall`, empty for unknown ones.
        """
        self._begins[record] = 0
        at = _DETAILS_AT + record * _RECORD_BYTES
        text = text[:LONGEST_TEXT]
        known = 0 < len(rows) <= MOST_RANGES
        _HEAD.pack_into(self._mapping, at, len(text), len(rows) if known else _UNKNOWN)
        begin = at + _HEAD.size
        self._mapping[begin : begin + len(text)] = text
        if known:
            struct.pack_into(f"<{3 * len(rows)}I", self._mapping, at + _RANGES_AT, *chain.from_iterable(rows))
        self._serials[record] += 1
        self._begins[record] = now

    def begun(self, record: int) -> int:
        """When the call of a record began, in monotonic nanoseconds."""
        return self._begins[record]

    def set_begun(self, record: int, begun: int) -> None:
        """Move the begin of a call; 0 ends it, or stops its clock."""
        self._begins[record] = begun

    def running(self) -> list[tuple[int, int, int]]:
        """Record, serial and begin of each call under way."""
        return [(i, self._serials[i], begin) for i, begin in enumerate(self._begins.tolist()) if begin]

    def read(self, record: int, serial: int, begin: int) -> WrittenCall | None:
        """What is written of a call that `running` has told of; None if it has ended since."""
        at = _DETAILS_AT + record * _RECORD_BYTES
        length, count = _HEAD.unpack_from(self._mapping, at)
        text = self._mapping[at + _HEAD.size : at + _HEAD.size + min(length, LONGEST_TEXT)]
        rows = None
        if count <= MOST_RANGES:
            numbers = struct.unpack_from(f"<{3 * count}I", self._mapping, at + _RANGES_AT)
            rows = tuple(map(HeldRows, numbers[::3], numbers[1::3], numbers[2::3]))
        if (self._serials[record], self._begins[record]) != (serial, begin):
            return None
        return WrittenCall(text.decode(errors="ignore"), rows)

    def close(self) -> None:
        """Drop this side's handle; safe to call twice."""
        if self.fd >= 0:
            self._begins.release()
            self._serials.release()
            self._mapping.close()
            os.close(self.fd)
            self.fd = -1
