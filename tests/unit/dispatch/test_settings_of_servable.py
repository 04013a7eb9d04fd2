"""What a user sets for a servable holds in dispatch from its first copy on, and changes nothing before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mindspore_serving.errors import UnknownTarget
from mindspore_serving.options import Limits, ServableSettings
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.dispatch.servable import RunningServable
from tests.support.options import other_value, other_values

USES: dict[str, tuple[Callable[[RunningServable], Any], Any]] = {
    "max_batch_delay_ms": (lambda servable: servable.delay_s, 0.0025),
    "max_enqueued_requests": (lambda servable: limits_of(servable).requests, 3),
    "max_enqueued_instances": (lambda servable: limits_of(servable).instances, 3),
    "max_enqueued_bytes": (lambda servable: limits_of(servable).byte_size, 3),
}


def limits_of(servable: RunningServable) -> Limits:
    assert servable.pending is not None
    return servable.pending.limits


def dispatcher() -> Dispatcher:
    return Dispatcher(asyncio.new_event_loop())


SETTINGS = ServableSettings(**other_values())
NAME, VERSION = SETTINGS.servable_name, SETTINGS.version_number


@pytest.mark.parametrize("name", USES)
@pytest.mark.parametrize("alone", [False, True], ids=["with all others", "alone"])
def test_it_holds_for_a_servable_that_comes_later(name: str, alone: bool) -> None:
    made = dispatcher()
    given = {"servable_name": NAME, "servable_directory": ".", "version_number": VERSION}
    made.configure(ServableSettings(**given, **{name: other_value(name)}) if alone else SETTINGS)
    read, expected = USES[name]
    assert read(made.servable(NAME, VERSION)) == expected


@pytest.mark.parametrize("name", USES)
def test_it_holds_for_a_servable_that_is_there(name: str) -> None:
    made = dispatcher()
    servable = made.servable(NAME, VERSION)
    made.configure(SETTINGS)
    read, expected = USES[name]
    assert read(servable) == expected
    assert made.servable(NAME, VERSION) is servable


def test_it_holds_for_its_version_alone() -> None:
    made = dispatcher()
    made.configure(SETTINGS)
    for name, version in ((NAME, VERSION + 1), ("other", VERSION)):
        assert made.servable(name, version).delay_s == 0
        assert made.servable(name, version).pending is None


@pytest.mark.parametrize("version", [0, VERSION])
@pytest.mark.parametrize("planned", [False, True])
def test_a_servable_whose_first_worker_has_not_registered_is_unknown(planned: bool, version: int) -> None:
    made = dispatcher()
    made.configure(SETTINGS)
    if planned:
        made.servable(NAME, VERSION)
    with pytest.raises(UnknownTarget, match="servable is not available"):
        made.resolve(NAME, "method", version)
