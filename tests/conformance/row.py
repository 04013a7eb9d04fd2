"""Cases named after the rows of the contract that they stand for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pytest

_F = TypeVar("_F", bound=Callable[..., Any])


def row(name: str, *values: Any) -> Any:
    """A case of `pytest.mark.parametrize`.

    Args:
        name: `{section}-{row}`; the row may have cases of its own, as in `7.2-ragged-bool`.
        values: The arguments of the test.
    """
    return pytest.param(*values, id=name)


def case_of(test: str) -> str:
    """Id of the case that a test runs, without the gRPC server that it meets; empty where it has none.

    Args:
        test: Name of the test.
    """
    return test.partition("[")[2].removesuffix("]").removeprefix("core-").removeprefix("aio-")


def stands_for(*names: str) -> Callable[[_F], _F]:
    """Name a test of one case after its rows."""

    def decorate(function: _F) -> _F:
        name = "+".join(names)
        parametrized = pytest.mark.parametrize("case_name", [pytest.param(name, id=name)], indirect=True)
        return pytest.mark.usefixtures("case_name")(parametrized(function))

    return decorate
