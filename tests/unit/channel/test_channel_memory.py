"""Shared memory of a worker: what its pages take, and when they are given back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mindspore_serving.server.channel.memory import IdleSlots, SharedMemory

IDLE_S = 10.0
SIZE = 5 << 20


@pytest.fixture
def memory() -> Iterator[SharedMemory]:
    memory = SharedMemory.create(2)
    yield memory
    memory.close()


@pytest.fixture
def other_side(memory: SharedMemory) -> Iterator[SharedMemory]:
    other_side = SharedMemory(os.dup(memory.fd), 2)
    yield other_side
    other_side.close()


def taken(memory: SharedMemory) -> int:
    """Bytes that the pages of the file take."""
    return 512 * os.fstat(memory.fd).st_blocks


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def exchange(memory: SharedMemory, other_side: SharedMemory, slot: int) -> None:
    """Write a request and read a reply, as the side does that hands slots out."""
    memory.view(memory.request_region(slot), 0, SIZE)[:] = 1
    assert other_side.view(memory.request_region(slot), 0, SIZE).all()
    other_side.view(memory.reply_region(slot), 0, SIZE)[:] = 2
    assert (memory.view(memory.reply_region(slot), 0, SIZE) == 2).all()


def test_idle_slots_give_their_pages_back_and_serve_again(
    memory: SharedMemory, other_side: SharedMemory
) -> None:
    slots = IdleSlots(memory, range(2), IDLE_S)
    for round_ in range(1, 3):
        now = 100.0 * round_
        exchange(memory, other_side, 0)
        exchange(memory, other_side, 1)
        slots.look(round_, False, now)
        slots.look(round_, False, now + IDLE_S - 0.1)
        assert taken(memory) == 4 * SIZE
        slots.look(round_, False, now + IDLE_S)
        assert taken(memory) == 2 * SIZE  # one slot at a time
        slots.look(round_, False, now + IDLE_S)
        assert taken(memory) == 0


def test_a_slot_in_use_keeps_the_pages(memory: SharedMemory, other_side: SharedMemory) -> None:
    slots = IdleSlots(memory, range(2), IDLE_S)
    exchange(memory, other_side, 0)
    for now in (0.0, 50.0, 100.0):
        slots.look(1, True, now)
    slots.look(1, False, 100.0 + IDLE_S - 0.1)
    assert taken(memory) == 2 * SIZE
    slots.look(1, False, 100.0 + IDLE_S)
    assert taken(memory) == 0


def test_uses_between_two_looks_count(memory: SharedMemory, other_side: SharedMemory) -> None:
    slots = IdleSlots(memory, range(2), IDLE_S)
    exchange(memory, other_side, 0)
    for uses in range(1, 30):
        slots.look(uses, False, float(uses))
    assert taken(memory) == 2 * SIZE


def test_nothing_is_given_back_twice(memory: SharedMemory, other_side: SharedMemory) -> None:
    slots = IdleSlots(memory, range(2), IDLE_S)
    exchange(memory, other_side, 0)
    for now in (0.0, IDLE_S):
        slots.look(1, False, now)
    assert taken(memory) == 0
    memory.view(0, 0, SIZE)[:] = 1
    slots.look(1, False, 100.0)
    assert taken(memory) == SIZE


def test_slots_of_the_other_side_are_left_alone(memory: SharedMemory, other_side: SharedMemory) -> None:
    slots = IdleSlots(memory, range(1), IDLE_S)
    exchange(memory, other_side, 0)
    exchange(memory, other_side, 1)
    for now in (0.0, IDLE_S):
        slots.look(1, False, now)
    assert taken(memory) == 2 * SIZE
    assert other_side.view(memory.request_region(1), 0, SIZE).all()


def test_an_idle_memory_holds_one_descriptor(memory: SharedMemory) -> None:
    slots = IdleSlots(memory, range(2), IDLE_S)
    before = open_descriptors()
    for region in range(4):
        memory.view(region, 0, SIZE)
    assert open_descriptors() == before + 4
    for now in (0.0, IDLE_S, IDLE_S):
        slots.look(1, False, now)
    assert open_descriptors() == before


def test_closed_memory_has_nothing_to_give_back(memory: SharedMemory) -> None:
    slots = IdleSlots(memory, range(2), IDLE_S)
    memory.view(0, 0, SIZE)[:] = 1
    slots.look(1, False, 0.0)
    memory.close()
    slots.look(1, False, IDLE_S)
