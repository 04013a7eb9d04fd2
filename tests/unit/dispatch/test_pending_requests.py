"""How many requests, instances and bytes may be pending, without a dispatcher."""

from __future__ import annotations

import asyncio

import pytest

from mindspore_serving.errors import QueueFull
from mindspore_serving.options import Limits
from mindspore_serving.server.dispatch.pending_requests import PendingRequests
from mindspore_serving.server.dispatch.request import Request
from tests.support.rows import numbered


def request(loop: asyncio.AbstractEventLoop, count: int) -> Request:
    return Request([numbered(count)], loop.create_future())


def counts(pending: PendingRequests) -> tuple[int, int, int]:
    return pending.requests, pending.instances, pending.byte_size


@pytest.mark.parametrize(
    ("most", "taken", "refused", "text"),
    [
        (Limits(requests=2), [9, 9], 1, "requests count exceeds the limit 2"),
        (Limits(instances=5), [2, 3], 1, "instances count exceeds the limit 5"),
        (Limits(instances=5), [2, 2], 2, "instances count exceeds the limit 5"),
        (Limits(byte_size=20), [2, 3], 1, "bytes count exceeds the limit 20"),
        (Limits(byte_size=20), [5], 1, "bytes count exceeds the limit 20"),
        (Limits(1, 1, 1), [7], 1, "requests count exceeds the limit 1"),
    ],
)
@pytest.mark.parametrize("whose", ["", ", servable: s"])
def test_what_goes_beyond_a_limit_is_not_counted(
    loop: asyncio.AbstractEventLoop, most: Limits, taken: list[int], refused: int, text: str, whose: str
) -> None:
    pending = PendingRequests(most, whose)
    requests = [request(loop, count) for count in taken]
    for one in requests:
        pending.add(one)
    full = counts(pending)
    assert full == (len(taken), sum(taken), 4 * sum(taken))
    with pytest.raises(QueueFull) as caught:
        pending.add(request(loop, refused))
    assert str(caught.value) == f"Serving Error: enqueued {text}{whose}"
    assert counts(pending) == full
    for one in requests:
        pending.remove(one)
    assert counts(pending) == (0, 0, 0)
    pending.add(request(loop, refused))


def test_without_limits_everything_is_taken(loop: asyncio.AbstractEventLoop) -> None:
    pending = PendingRequests(Limits())
    for _ in range(1000):
        pending.add(request(loop, 100))
    assert repr(pending) == "<PendingRequests 1000 requests, 100000 instances, 400000 bytes>"


def test_a_request_that_has_had_a_place_is_not_refused_for_it(loop: asyncio.AbstractEventLoop) -> None:
    pending = PendingRequests(Limits(requests=1, instances=9))
    pending.add(request(loop, 1))
    pending.add(request(loop, 1), placed=True)
    with pytest.raises(QueueFull, match="instances count exceeds the limit 9"):
        pending.add(request(loop, 8), placed=True)
    assert counts(pending) == (2, 2, 8)
