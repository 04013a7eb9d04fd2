"""Sections 0 and 1: checks of parameters, and the names that can be imported."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from mindspore_serving.server.common import check_type
from tests.conformance.row import row
from tests.conformance.scripts import outcomes

NOT_INT = "Parameter 'p' should be int, but actually "
STR_LIST = "check_and_as_str_tuple_list"
INT_LIST = "check_and_as_int_tuple_list"
GROUPS = "check_and_as_tuple_with_str_list"


@pytest.mark.parametrize(
    ("checker", "arguments", "text"),
    [
        row(
            "0.1-check_str-type", "check_str", (1,), "Parameter 'p' should be str, but actually <class 'int'>"
        ),
        row("0.1-check_str-empty", "check_str", ("",), "Parameter 'p' should not be empty str"),
        row(
            "0.1-check_bytes-type",
            "check_bytes",
            ("a",),
            "Parameter 'p' should be bytes, but actually <class 'str'>",
        ),
        row("0.1-check_bytes-empty", "check_bytes", (b"",), "Parameter 'p' should not be empty bytes"),
        row("0.1-check_bool", "check_bool", (1,), "Parameter 'p' should be bool, but actually <class 'int'>"),
        row("0.1-check_int-bool", "check_int", (True,), NOT_INT + "<class 'bool'>"),
        row("0.1-check_int-type", "check_int", ("1",), NOT_INT + "<class 'str'>"),
        row("0.1-check_int-below", "check_int", (0, 1, 9), "Parameter 'p' should be in range [1,9]"),
        row("0.1-check_int-above", "check_int", (10, 1, 9), "Parameter 'p' should be in range [1,9]"),
        row("0.1-check_int-minimum", "check_int", (0, 1), "Parameter 'p' should be >= 1"),
        row("0.1-check_int-maximum", "check_int", (2, None, 1), "Parameter 'p' should be <= 1"),
        row("0.1-check_ip_port-below", "check_ip_port", (0,), "Parameter 'p' should be in range [1,65535]"),
        row(
            "0.1-check_ip_port-above", "check_ip_port", (65536,), "Parameter 'p' should be in range [1,65535]"
        ),
        row(
            "0.1-str_list-type",
            STR_LIST,
            (1,),
            "Parameter 'p' should be str or tuple/list of str, but actually <class 'int'>",
        ),
        row(
            "0.1-str_list-item",
            STR_LIST,
            (["a", 1],),
            "The item of parameter 'p' should be str, but actually <class 'int'>",
        ),
        row(
            "0.1-str_list-item-empty", STR_LIST, ([""],), "The item of parameter 'p' should not be empty str"
        ),
        row(
            "0.1-str_list-repeated",
            STR_LIST,
            (["a", "a"],),
            "The item value 'a' in parameter 'p' should not be repeated",
        ),
        row(
            "0.1-int_list-type",
            INT_LIST,
            ("1",),
            "Parameter 'p' should be int or tuple/list of int, but actually <class 'str'>",
        ),
        row(
            "0.1-int_list-item",
            INT_LIST,
            ([1, "2"],),
            "The item value '2' in parameter 'p' should be int, but actually <class 'str'>",
        ),
        row(
            "0.1-int_list-minimum", INT_LIST, ([-1], 0), "The item value '-1' in parameter 'p' should be >= 0"
        ),
        row(
            "0.1-int_list-repeated",
            INT_LIST,
            ([1, 1],),
            "The item value '1' in parameter 'p' should not be repeated",
        ),
        row(
            "0.1-check_int_tuple_list",
            "check_int_tuple_list",
            (1,),
            "Parameter 'p' should be tuple/list of int, but actually <class 'int'>",
        ),
        row(
            "0.1-check_int_tuple_list-item",
            "check_int_tuple_list",
            (["1"],),
            "The item value '1' in parameter 'p' should be int, but actually <class 'str'>",
        ),
        row(
            "0.1-groups-type",
            GROUPS,
            (1,),
            "Parameter 'p' should be str or tuple/list of str, but actually <class 'int'>",
        ),
        row(
            "0.1-groups-repeated",
            GROUPS,
            (["a", "a"],),
            "The item value 'a' in parameter 'p' should not be repeated",
        ),
        row(
            "0.1-groups-inner",
            GROUPS,
            ([["a", 1]],),
            "The inner of parameter 'p' should be str, but actually <class 'int'>",
        ),
        row(
            "0.1-groups-inner-repeated",
            GROUPS,
            ([["a", "a"]],),
            "The inner value 'a' in parameter 'p' should not be repeated",
        ),
    ],
)
def test_checker_refuses(checker: str, arguments: tuple[Any, ...], text: str) -> None:
    with pytest.raises(RuntimeError) as refused:
        getattr(check_type, checker)("p", *arguments)
    assert str(refused.value) == text


@pytest.mark.parametrize(
    ("checker", "value", "expected"),
    [
        row("0.1-str_list-from-str", STR_LIST, "a", ("a",)),
        row("0.1-str_list-from-list", STR_LIST, ["a", "b"], ("a", "b")),
        row("0.1-int_list-from-int", INT_LIST, 1, (1,)),
        row("0.1-int_list-from-list", INT_LIST, [2, 1], (2, 1)),
        row("0.1-check_int_tuple_list-returns-nothing", "check_int_tuple_list", [1], None),
        row("0.1-groups-bare-str", GROUPS, "ab", (["ab"],)),
        row("0.1-groups-list", GROUPS, ["a", ["b", "c"]], (["a"], ["b", "c"])),
    ],
)
def test_checker_returns(checker: str, value: Any, expected: Any) -> None:
    assert getattr(check_type, checker)("p", value) == expected


@pytest.mark.parametrize(
    ("module", "names"),
    [
        row("1-client", "client", "Client SSLConfig"),
        row("1-log", "log", "info debug warning error get_level get_log_config"),
        row("1-master", "master", "start_grpc_server start_restful_server start_master_server stop context"),
        row("1-master.context", "master.context", "set_max_enqueued_requests"),
        row("1-worker", "worker", "start_servable start_servable_in_master stop register"),
        row(
            "1-server",
            "server",
            "start_grpc_server start_restful_server stop start_servables ServableStartConfig SSLConfig register",
        ),
        row("1-server.master.context", "server.master.context", "set_max_enqueued_requests"),
        row("1-server.register", "server.register", "declare_model add_stage register_method Context"),
        row("1-check_type-of-1.2", "common.check_type", "check_str check_int"),
    ],
)
def test_names(module: str, names: str) -> None:
    imported = importlib.import_module(f"mindspore_serving.{module}")
    assert [name for name in names.split() if not hasattr(imported, name)] == []


@pytest.mark.parametrize(
    "chain",
    [
        row("1-reached-server-context", "server.master.context.set_max_enqueued_requests"),
        row("1-reached-server-register", "server.register.declare_model"),
        row("1-reached-master-context", "master.context.set_max_enqueued_requests"),
        row("1-reached-worker-register", "worker.register.declare_servable"),
    ],
)
def test_reached_by_attributes_alone(tmp_path: Path, chain: str) -> None:
    first = chain.partition(".")[0]
    found = outcomes(tmp_path, f"from mindspore_serving import {first}\n", {"call": f"callable({chain})"})
    assert found == {"call": None}


CONTEXT = "server.master.context.set_max_enqueued_requests"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        row("3.1-set_max_enqueued_requests-range", "(0)", "Parameter 'max_enqueued_requests' should be >= 1"),
        row(
            "3.1-set_max_enqueued_requests-type",
            "(True)",
            "Parameter 'max_enqueued_requests' should be int, but actually <class 'bool'>",
        ),
    ],
)
def test_set_max_enqueued_requests(tmp_path: Path, call: str, text: str) -> None:
    found = outcomes(tmp_path, "from mindspore_serving import server\n", {"call": CONTEXT + call})
    assert found == {"call": ("RuntimeError", text)}
