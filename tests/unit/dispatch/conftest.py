"""Tests that are coroutines run on the event loop of their dispatcher."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.host import settings

_LIMIT_S = 10.0


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine, so that nobody can forget to."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    loop = pyfuncitem.funcargs["loop"]
    loop.run_until_complete(asyncio.wait_for(pyfuncitem.obj(**arguments), _LIMIT_S))
    return True


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture
def dispatcher(loop: asyncio.AbstractEventLoop) -> Dispatcher:
    return Dispatcher(loop)


@pytest.fixture
def limits() -> Iterator[Callable[..., None]]:
    """Sets the limits of the server; those before hold again afterwards."""
    before = replace(settings.server_limits)

    def set_limits(requests: int = before.requests, instances: int = 0, byte_size: int = 0) -> None:
        settings.set_max_enqueued_requests(requests)
        settings.set_max_enqueued_instances(instances or before.instances)
        settings.set_max_enqueued_bytes(byte_size or before.byte_size)

    yield set_limits
    set_limits(before.requests, before.instances, before.byte_size)
