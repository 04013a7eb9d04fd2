"""Tests that are coroutines run on the event loop of their dispatcher, as those of dispatch do."""

from collections.abc import Iterator

import pytest

from mindspore_serving.server.dispatch.client_call import current_call
from tests.unit.dispatch.conftest import dispatcher, loop, pytest_pyfunc_call

__all__ = ["dispatcher", "loop", "pytest_pyfunc_call"]


@pytest.fixture(autouse=True)
def no_call_is_left() -> Iterator[None]:
    yield
    current_call.set(None)
