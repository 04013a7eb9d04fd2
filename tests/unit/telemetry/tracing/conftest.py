"""Tests that are coroutines run on the event loop of their dispatcher, as those of dispatch do."""

from tests.unit.dispatch.conftest import dispatcher, loop, pytest_pyfunc_call

__all__ = ["dispatcher", "loop", "pytest_pyfunc_call"]
