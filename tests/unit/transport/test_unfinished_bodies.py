"""Bytes of bodies that have not arrived: how many there may be."""

from __future__ import annotations

import pytest

from mindspore_serving.server.transport.unfinished_bodies import UnfinishedBodies, room_for_bodies


def test_there_is_room_up_to_the_limit() -> None:
    bodies = UnfinishedBodies(10)
    assert bodies.is_empty
    assert bodies.change(10)
    assert not bodies.exceeded
    assert not bodies.change(1)
    assert bodies.exceeded
    assert bodies.refusal == "Serving Error: bytes of unfinished requests exceed the limit 10"
    assert repr(bodies) == "<UnfinishedBodies 11 of 10 bytes>"


def test_what_goes_is_never_refused() -> None:
    bodies = UnfinishedBodies(10)
    assert not bodies.change(30)
    assert bodies.change(-5)
    assert bodies.exceeded
    assert bodies.change(-25)
    assert bodies.is_empty


@pytest.mark.parametrize("body_bytes", [1, 512 << 20, 1 << 50])
def test_there_is_room_for_the_largest_body(body_bytes: int) -> None:
    assert room_for_bodies(body_bytes) >= max(body_bytes, 256 << 20)
