"""What a worker process is told at its start: every option, and no key."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest

from mindspore_serving.errors import ChannelError, InvalidParameter
from mindspore_serving.server.channel.worker_plan import (
    METHOD_CALL_SLOTS,
    AgentsPlan,
    WorkerPlan,
    WorkerStart,
    read_start,
    start_file,
    with_key,
)
from mindspore_serving.server.host.key_pipe import open_key_pipe
from tests.support.options import KEY, OPTIONS, other_value, other_values
from tests.support.plans import worker_plan

PLAN = worker_plan(
    **{"name" if name == "servable_name" else name: value for name, value in other_values().items()},
    device_id=7,
    has_device=False,
    remote_models=True,
    serves_calls=True,
    enable_lite=True,
    agents=AgentsPlan("table", "1.2.3.4:5", 6),
    cores=(2, 3),
)
START = WorkerStart(PLAN, 8, 9, 10.5, 11, 12, 13, None)


def read_back(start: WorkerStart) -> WorkerStart:
    return read_start(start_file(start))


@pytest.mark.parametrize("name", OPTIONS)
def test_the_worker_is_told_each_option_but_the_key(name: str) -> None:
    told = getattr(read_back(START).plan.settings, name)
    assert told == (None if name == "dec_key" else other_value(name))


@pytest.mark.parametrize("name", [one.name for one in fields(WorkerPlan) if one.name != "settings"])
def test_the_worker_is_told_all_of_its_plan(name: str) -> None:
    assert getattr(read_back(START).plan, name) == getattr(PLAN, name)
    assert getattr(PLAN, name) != getattr(worker_plan(), name)


@pytest.mark.parametrize("name", [one.name for one in fields(WorkerStart) if one.name != "plan"])
def test_the_worker_is_told_what_it_inherits(name: str) -> None:
    for start in (START, replace(START, memory_fd=None, calls_fd=None, key_fd=14)):
        assert getattr(read_back(start), name) == getattr(start, name)


@pytest.mark.parametrize("name", OPTIONS)
def test_with_its_key_the_plan_is_whole(name: str) -> None:
    told = read_back(replace(START, key_fd=open_key_pipe(KEY)))
    assert getattr(with_key(told).settings, name) == other_value(name)


def test_without_a_key_nothing_is_read() -> None:
    told = read_back(START)
    assert with_key(told) is told.plan


def test_the_key_is_not_in_the_document() -> None:
    descriptor = start_file(START)
    text = os.read(descriptor, 1 << 20)
    os.close(descriptor)
    for form in (KEY, KEY.hex().encode(), KEY[:8]):
        assert form not in text
    assert json.loads(text)["plan"]["settings"]["dec_key"] is None


def test_the_file_is_closed_once_it_is_read() -> None:
    descriptor = start_file(START)
    assert not os.get_inheritable(descriptor)
    read_start(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def document() -> dict[str, Any]:
    descriptor = start_file(START)
    text = os.read(descriptor, 1 << 20)
    os.close(descriptor)
    plain: dict[str, Any] = json.loads(text)
    return plain


def told(plain: dict[str, Any]) -> int:
    descriptor = os.memfd_create("told")
    os.write(descriptor, json.dumps(plain).encode())
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_of_another_type_is_refused_by_name(name: str) -> None:
    plain = document()
    plain["plan"]["settings"][name] = {"not": ["a value"]}
    with pytest.raises(
        ChannelError, match=rf"WorkerStart\.plan\.settings\.{name}(\.\['not'\]|\['not'\])? should be"
    ):
        read_start(told(plain))


def closed() -> int:
    descriptor = told({})
    os.close(descriptor)
    return descriptor


def not_text() -> int:
    descriptor = os.memfd_create("told")
    os.pwrite(descriptor, b"\xff", 0)
    return descriptor


@pytest.mark.parametrize(
    ("descriptor", "reason"),
    [(closed, "Bad file descriptor"), (lambda: -1, "negative"), (not_text, "can't decode byte 0xff")],
)
def test_what_cannot_be_read_is_refused(descriptor: Callable[[], int], reason: str) -> None:
    with pytest.raises(ChannelError, match=f"a WorkerStart cannot be read from descriptor .*: .*{reason}"):
        read_start(descriptor())


def test_an_unknown_option_is_refused() -> None:
    plain = document()
    plain["plan"]["settings"]["no_such_option"] = 1
    with pytest.raises(ChannelError, match="no_such_option"):
        read_start(told(plain))


def test_an_option_out_of_bounds_is_refused() -> None:
    plain = document()
    plain["plan"]["settings"]["slots_per_copy"] = 17
    with pytest.raises(InvalidParameter, match=r"'slots_per_copy' should be in range \[1,16\]"):
        read_start(told(plain))


def test_slots_of_a_worker() -> None:
    plan = worker_plan(slots_per_copy=5)
    assert (plan.first_call_slot, plan.first_method_call_slot) == (69, 69)
    assert plan.slots == 69 + METHOD_CALL_SLOTS
    remote = replace(plan, remote_models=True)
    assert (remote.first_method_call_slot, remote.slots) == (73, 73 + METHOD_CALL_SLOTS)
