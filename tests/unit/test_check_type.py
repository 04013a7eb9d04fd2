"""Every parameter check: what passes, and the exact text for what does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mindspore_serving import check_type as checks
from mindspore_serving.errors import InvalidParameter
from mindspore_serving.server.common import check_type as older_path

STR_LIST = checks.check_and_as_str_tuple_list
INT_LIST = checks.check_and_as_int_tuple_list
INT_LIST_ONLY = checks.check_int_tuple_list
GROUPS = checks.check_and_as_tuple_with_str_list

PASSING: list[tuple[Callable[..., Any], tuple[Any, ...], Any]] = [
    (checks.check_str, ("a",), None),
    (checks.check_bytes, (b"a",), None),
    (checks.check_bool, (False,), None),
    (checks.check_int, (-5,), None),
    (checks.check_int, (3, 3, 3), None),
    (checks.check_ip_port, (1,), None),
    (checks.check_ip_port, (65535,), None),
    (checks.check_seconds, (0,), None),
    (checks.check_seconds, (0.5,), None),
    (STR_LIST, ("a",), ("a",)),
    (STR_LIST, (["b", "a"],), ("b", "a")),
    (STR_LIST, (("a",),), ("a",)),
    (STR_LIST, ([],), ()),
    (INT_LIST, (7,), (7,)),
    (INT_LIST, ([3, 1], 0, 3), (3, 1)),
    (INT_LIST, ((),), ()),
    (INT_LIST_ONLY, ((2, 1), 0), None),
    (INT_LIST_ONLY, ([],), None),
    (GROUPS, ("model.mindir",), (["model.mindir"],)),
    (GROUPS, (["a", "b"],), (["a"], ["b"])),
    (GROUPS, ([["a", "b"], ["a", "c"]],), (["a", "b"], ["a", "c"])),
    (GROUPS, (("a", ("b", "c")),), (["a"], ["b", "c"])),
]

NOT_INT = "Parameter 'p' should be int, but actually "
FAILING: list[tuple[Callable[..., Any], tuple[Any, ...], str]] = [
    (checks.check_str, (1,), "Parameter 'p' should be str, but actually <class 'int'>"),
    (checks.check_str, (None,), "Parameter 'p' should be str, but actually <class 'NoneType'>"),
    (checks.check_str, ("",), "Parameter 'p' should not be empty str"),
    (checks.check_str, ("a\0b",), "Parameter 'p' should not have null characters, but actually 'a\\x00b'"),
    (STR_LIST, ("\0",), "The item of parameter 'p' should not have null characters, but actually '\\x00'"),
    (
        GROUPS,
        ([["a", "b\0"]],),
        "The inner of parameter 'p' should not have null characters, but actually 'b\\x00'",
    ),
    (checks.check_bytes, ("a",), "Parameter 'p' should be bytes, but actually <class 'str'>"),
    (checks.check_bytes, (b"",), "Parameter 'p' should not be empty bytes"),
    (checks.check_bool, (1,), "Parameter 'p' should be bool, but actually <class 'int'>"),
    (checks.check_int, (True,), NOT_INT + "<class 'bool'>"),
    (checks.check_int, ("1",), NOT_INT + "<class 'str'>"),
    (checks.check_int, (1.0,), NOT_INT + "<class 'float'>"),
    (checks.check_int, (0, 1, 9), "Parameter 'p' should be in range [1,9]"),
    (checks.check_int, (10, 1, 9), "Parameter 'p' should be in range [1,9]"),
    (checks.check_int, (-1, 0), "Parameter 'p' should be >= 0"),
    (checks.check_int, (1, None, 0), "Parameter 'p' should be <= 0"),
    (checks.check_ip_port, (0,), "Parameter 'p' should be in range [1,65535]"),
    (checks.check_ip_port, (65536,), "Parameter 'p' should be in range [1,65535]"),
    (checks.check_ip_port, ("80",), NOT_INT + "<class 'str'>"),
    (checks.check_seconds, (True,), "Parameter 'p' should be int or float, but actually <class 'bool'>"),
    (checks.check_seconds, ("1",), "Parameter 'p' should be int or float, but actually <class 'str'>"),
    (checks.check_seconds, (-1,), "Parameter 'p' should be a number of seconds, at least 0, but got -1"),
    (
        checks.check_seconds,
        (float("nan"),),
        "Parameter 'p' should be a number of seconds, at least 0, but got nan",
    ),
    (STR_LIST, (1,), "Parameter 'p' should be str or tuple/list of str, but actually <class 'int'>"),
    (STR_LIST, ({"a"},), "Parameter 'p' should be str or tuple/list of str, but actually <class 'set'>"),
    (STR_LIST, (["a", 1],), "The item of parameter 'p' should be str, but actually <class 'int'>"),
    (STR_LIST, ("",), "The item of parameter 'p' should not be empty str"),
    (STR_LIST, (["a", ""],), "The item of parameter 'p' should not be empty str"),
    (STR_LIST, (["a", "{}", "{}"],), "The item value '{}' in parameter 'p' should not be repeated"),
    (INT_LIST, ("1",), "Parameter 'p' should be int or tuple/list of int, but actually <class 'str'>"),
    (INT_LIST, ([0, "1"],), "The item value '1' in parameter 'p' should be int, but actually <class 'str'>"),
    (INT_LIST, (True,), "The item value 'True' in parameter 'p' should be int, but actually <class 'bool'>"),
    (
        INT_LIST,
        ([1, True],),
        "The item value 'True' in parameter 'p' should be int, but actually <class 'bool'>",
    ),
    (INT_LIST, ([0, -1], 0), "The item value '-1' in parameter 'p' should be >= 0"),
    (INT_LIST, (9, None, 8), "The item value '9' in parameter 'p' should be <= 8"),
    (INT_LIST, ([9], 0, 8), "The item value '9' in parameter 'p' should be in range [0,8]"),
    (INT_LIST, ([2, 2],), "The item value '2' in parameter 'p' should not be repeated"),
    (INT_LIST_ONLY, (1,), "Parameter 'p' should be tuple/list of int, but actually <class 'int'>"),
    (INT_LIST_ONLY, ([1, 1],), "The item value '1' in parameter 'p' should not be repeated"),
    (INT_LIST_ONLY, ([-1], 0), "The item value '-1' in parameter 'p' should be >= 0"),
    (GROUPS, (1,), "Parameter 'p' should be str or tuple/list of str, but actually <class 'int'>"),
    (GROUPS, ([1],), "The item of parameter 'p' should be str, but actually <class 'int'>"),
    (GROUPS, ("",), "The item of parameter 'p' should not be empty str"),
    (GROUPS, (["a", "a"],), "The item value 'a' in parameter 'p' should not be repeated"),
    (GROUPS, ([["a", 1]],), "The inner of parameter 'p' should be str, but actually <class 'int'>"),
    (GROUPS, ([[""]],), "The inner of parameter 'p' should not be empty str"),
    (GROUPS, ([["a", "a"]],), "The inner value 'a' in parameter 'p' should not be repeated"),
]


@pytest.mark.parametrize(("check", "arguments", "expected"), PASSING)
def test_passes(check: Callable[..., Any], arguments: tuple[Any, ...], expected: Any) -> None:
    assert check("p", *arguments) == expected


@pytest.mark.parametrize(("check", "arguments", "text"), FAILING)
def test_refuses_with_text(check: Callable[..., Any], arguments: tuple[Any, ...], text: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        check("p", *arguments)
    assert str(refused.value) == text
    assert isinstance(refused.value, RuntimeError)


def test_older_path_has_every_check() -> None:
    public = {name for name in vars(checks) if name.startswith("check_")}
    assert set(older_path.__all__) == public
    assert all(getattr(older_path, name) is getattr(checks, name) for name in public)
