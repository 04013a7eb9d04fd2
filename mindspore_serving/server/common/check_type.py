"""The parameter checks, under the path by which servables and scripts know them."""

from mindspore_serving.check_type import (
    check_and_as_int_tuple_list,
    check_and_as_str_tuple_list,
    check_and_as_tuple_with_str_list,
    check_bool,
    check_bytes,
    check_int,
    check_int_tuple_list,
    check_ip_port,
    check_str,
)

__all__ = [
    "check_and_as_int_tuple_list",
    "check_and_as_str_tuple_list",
    "check_and_as_tuple_with_str_list",
    "check_bool",
    "check_bytes",
    "check_int",
    "check_int_tuple_list",
    "check_ip_port",
    "check_str",
]
