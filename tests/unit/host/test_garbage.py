"""How often Python looks for garbage."""

import gc
from collections.abc import Iterator

import pytest

from mindspore_serving.server.host.garbage import YOUNG_OBJECTS, look_for_garbage_less_often


@pytest.fixture(autouse=True)
def _threshold_as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


@pytest.mark.parametrize("default", [700, 2000])
def test_the_default_of_python_becomes_larger(default: int) -> None:
    gc.set_threshold(default, 10, 7)
    assert look_for_garbage_less_often()
    assert gc.get_threshold() == (YOUNG_OBJECTS, 10, 7)


@pytest.mark.parametrize("own", [0, 300, 50_000])
def test_what_the_user_has_decided_stays(own: int) -> None:
    gc.set_threshold(own, 10, 7)
    assert not look_for_garbage_less_often()
    assert gc.get_threshold() == (own, 10, 7)
