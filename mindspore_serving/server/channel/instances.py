"""Messages that carry instances, the hot path: a fixed head, a text, and columns.

    body    head, padded to 8 | text or numbers, padded to 8 | groups, as `columns` describes them
    head    u32 for each int | u8 for each bool | count of groups u32 | text_len u32, or how many numbers, if there are

The type hints of the fields say what a body holds: int and bool, in the order of the dataclass; at most one str or
`tuple[int, ...]`, each a u32; and one field of `tuple[Rows, ...]`, `tuple[Group, ...]`, `Rows` or `Group`.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable
from functools import lru_cache
from operator import attrgetter, itemgetter
from typing import Any, get_type_hints

from mindspore_serving.rows import Group, Rows
from mindspore_serving.server.channel.columns import append_groups, joinable, padding, read_group
from mindspore_serving.server.channel.hints import UnknownHint
from mindspore_serving.server.channel.memory import SharedMemory
from mindspore_serving.server.channel.messages import NO_SLOT

_SEVERAL = (tuple[Rows, ...], tuple[Group, ...])
_ROWS_ONLY = (Rows, tuple[Rows, ...])
_GROUPS = (Rows, Group, *_SEVERAL)
_NUMBERS = tuple[int, ...]
_MOST_NUMBERS = 4096

RegionOf = Callable[[int], int]
"""Region of shared memory that belongs to a slot."""


def carries_instances(kind: type) -> bool:
    """Whether a message has a field of instances."""
    return any(hint in _GROUPS for hint in get_type_hints(kind).values())


class InstancesCodec:
    """Writes and reads one kind of message.

    Args:
        kind: The dataclass.
        region_of: Where large data goes; the first two fields are then the number of the batch and its slot. None
            keeps everything in the frame.

    Attributes:
        name: How errors call it.

    Raises:
        UnknownHint: A field has a hint that no value can be read by.
    """

    def __init__(self, kind: type, region_of: RegionOf | None = None) -> None:
        hints = get_type_hints(kind)
        names = [field.name for field in dataclasses.fields(kind)]
        ints, bools, texts, groups = (
            [name for name in names if hints[name] in wanted]
            for wanted in ((int,), (bool,), (str, _NUMBERS), _GROUPS)
        )
        order = [*ints, *bools, *texts, *groups]
        if len(order) != len(names) or len(groups) != 1 or not ints or len(texts) > 1:
            raise UnknownHint(
                f"{kind.__name__}: a message that carries instances has fields of int and bool, at most one of str or "
                f"tuple[int, ...], and one of instances, but this one has {hints}"
            )
        if region_of is not None and (ints[0] != names[0] or ints[1:2] != ["slot"]):
            raise UnknownHint(
                f"{kind.__name__}: its fields should begin with a number and slot, but are {names}"
            )
        self.name = kind.__name__
        self._kind = kind
        self._region_of = region_of
        self._several = hints[groups[0]] in _SEVERAL
        self._rows_only = hints[groups[0]] in _ROWS_ONLY
        self._has_text = bool(texts) and hints[texts[0]] is str
        self._has_numbers = bool(texts) and not self._has_text
        head = f"<{len(ints)}I{len(bools)}?{1 + len(texts)}I"
        self._head = struct.Struct(f"{head}{-struct.calcsize(head) % 8}x")
        self._head_bytes = self._head.size
        self._values_of: Callable[[Any], tuple[Any, ...]] = attrgetter(*order)
        # Calling it costs as much as reading one of the fields, so it is left out where nothing is to be moved.
        self._in_order = None if order == names else itemgetter(*(order.index(name) for name in names))

    def parts_of(self, message: Any, memory: SharedMemory | None) -> list[bytes]:
        """The body in parts, behind an empty one for the frame's head.

        Raises:
            struct.error: A number is none of 32 bits.
            OSError: Shared memory cannot be had.
        """
        if self._has_text:
            *plain, text, given = self._values_of(message)
            groups = joinable(given) if self._several else [(given,)]
            length, padded = _encoded(text)
            parts = [b"", self._head.pack(*plain, len(groups), length), padded]
        elif self._has_numbers:
            *plain, numbers, given = self._values_of(message)
            groups = joinable(given) if self._several else [(given,)]
            head = self._head.pack(*plain, len(groups), len(numbers))
            parts = [b"", head, _numbers(len(numbers)).pack(*numbers)] if numbers else [b"", head]
        else:
            *plain, given = self._values_of(message)
            groups = joinable(given) if self._several else [(given,)]
            parts = [b"", self._head.pack(*plain, len(groups))]
        if memory is None or self._region_of is None or plain[1] == NO_SLOT:
            append_groups(parts, groups, None, 0, 0)
        else:
            append_groups(parts, groups, memory, self._region_of(plain[1]), plain[0])
        return parts

    def read(self, body: memoryview, memory: SharedMemory | None, own: bool) -> Any:
        """The message in a body; arrays view the body or the shared memory.

        Args:
            body: The body.
            memory: Where large data is; None where there is none.
            own: Whether to copy data out of shared memory.

        Raises:
            ValueError, TypeError, OverflowError, IndexError, struct.error, OSError: The body does not hold one.
        """
        at = self._head_bytes
        if self._has_text:
            *values, count, length = self._head.unpack_from(body)
            text = body[at : at + length]
            if len(text) != length:
                raise ValueError(f"a text of {length} bytes expected, {len(text)} left")
            values.append(str(text, "utf-8"))
            at += length + (-length % 8)
        elif self._has_numbers:
            *values, count, length = self._head.unpack_from(body)
            if length:
                numbers = _numbers(length)
                values.append(numbers.unpack_from(body, at))
                at += numbers.size
            else:
                values.append(())
        else:
            *values, count = self._head.unpack_from(body)
        region = 0
        if self._region_of is None:
            memory = None
        elif memory is not None:
            region = self._region_of(values[1])  # of `NO_SLOT` none that there is
        groups: list[Group] = []
        for _ in range(count):
            group, at = read_group(body, at, memory, region, own, self._rows_only)
            groups.append(group)
        if self._several:
            values.append(tuple(groups))
        else:
            values += groups
            if count != 1:
                raise ValueError(f"one group expected, {count} got")
        return self._kind(*(values if self._in_order is None else self._in_order(values)))


@lru_cache(maxsize=64)
def _numbers(count: int) -> struct.Struct:
    """What writes and reads so many numbers.

    Raises:
        ValueError: They are too many.
    """
    if count > _MOST_NUMBERS:
        raise ValueError(f"at most {_MOST_NUMBERS} numbers expected, more got")
    return struct.Struct(f"<{count}I{4 * (count % 2)}x")


@lru_cache(maxsize=1024)  # the names of methods; texts that all differ would only push these out
def _encoded(text: str) -> tuple[int, bytes]:
    encoded = text.encode()
    return len(encoded), encoded + padding(len(encoded))
