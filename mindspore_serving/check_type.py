"""Checks of parameters of public functions: each names the parameter, what was expected and what was given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mindspore_serving.errors import InvalidParameter

__all__ = [
    "check_and_as_int_tuple_list",
    "check_and_as_str_tuple_list",
    "check_and_as_tuple_with_str_list",
    "check_bool",
    "check_bytes",
    "check_int",
    "check_int_tuple_list",
    "check_ip_port",
    "check_plain_values",
    "check_seconds",
    "check_str",
]


def check_str(arg_name: str, str_val: object) -> None:
    """Check that a parameter is a str that is not empty.

    Args:
        arg_name: Name of the parameter, for the message.
        str_val: What the caller gave.

    Raises:
        InvalidParameter: It is not a str, or empty, or has a null character, which no path or name can have.
    """
    if not isinstance(str_val, str):
        raise InvalidParameter(f"Parameter '{arg_name}' should be str, but actually {type(str_val)}")
    if not str_val:
        raise InvalidParameter(f"Parameter '{arg_name}' should not be empty str")
    _check_no_null(f"Parameter '{arg_name}'", str_val)


def check_bytes(arg_name: str, bytes_val: object) -> None:
    """Check that a parameter is a bytes object that is not empty.

    Args:
        arg_name: Name of the parameter, for the message.
        bytes_val: What the caller gave.

    Raises:
        InvalidParameter: It is not bytes, or empty.
    """
    if not isinstance(bytes_val, bytes):
        raise InvalidParameter(f"Parameter '{arg_name}' should be bytes, but actually {type(bytes_val)}")
    if not bytes_val:
        raise InvalidParameter(f"Parameter '{arg_name}' should not be empty bytes")


def check_bool(arg_name: str, bool_val: object) -> None:
    """Check that a parameter is a bool.

    Args:
        arg_name: Name of the parameter, for the message.
        bool_val: What the caller gave.

    Raises:
        InvalidParameter: It is not a bool.
    """
    if not isinstance(bool_val, bool):
        raise InvalidParameter(f"Parameter '{arg_name}' should be bool, but actually {type(bool_val)}")


def check_int(arg_name: str, int_val: object, minimum: int | None = None, maximum: int | None = None) -> None:
    """Check that a parameter is an int within bounds; a bool is no int here.

    Args:
        arg_name: Name of the parameter, for the message.
        int_val: What the caller gave.
        minimum: Smallest value allowed; None for no lower bound.
        maximum: Largest value allowed; None for no upper bound.

    Raises:
        InvalidParameter: It is not an int, or out of bounds.
    """
    _check_int(f"Parameter '{arg_name}'", int_val, minimum, maximum)


def check_seconds(arg_name: str, seconds: object) -> None:
    """Check that a parameter is a time that can be waited for; a bool is no number here.

    Args:
        arg_name: Name of the parameter, for the message.
        seconds: What the caller gave.

    Raises:
        InvalidParameter: It is no int or float, below 0, or not finite.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise InvalidParameter(f"Parameter '{arg_name}' should be int or float, but actually {type(seconds)}")
    if not 0 <= seconds < float("inf"):
        raise InvalidParameter(
            f"Parameter '{arg_name}' should be a number of seconds, at least 0, but got {seconds}"
        )


def check_ip_port(arg_name: str, port: object) -> None:
    """Check that a parameter is a TCP port that can be named in an address, 1 to 65535.

    Args:
        arg_name: Name of the parameter, for the message.
        port: What the caller gave.

    Raises:
        InvalidParameter: It is not an int, or out of bounds.
    """
    check_int(arg_name, port, 1, 65535)


def check_plain_values(arg_name: str, values: object) -> dict[str, str | float]:
    """Check that a parameter holds plain values by name, as options of a library.

    Args:
        arg_name: Name of the parameter, for the message.
        values: A dict of str, int, float or bool by name; None for none.

    Returns:
        The values.

    Raises:
        InvalidParameter: It is no dict, or a name or value has the wrong type.
    """
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise InvalidParameter(f"Parameter '{arg_name}' should be dict, but actually {type(values)}")
    for name, value in values.items():
        check_str(f"{arg_name} key", name)
        if not isinstance(value, (str, int, float)):
            raise InvalidParameter(
                f"Value of '{name}' in parameter '{arg_name}' should be str, int, float or bool, but actually "
                f"{type(value)}"
            )
    return dict(values)


def check_and_as_str_tuple_list(arg_name: str, strs: object) -> tuple[str, ...]:
    """Check a parameter that is one str or several.

    Args:
        arg_name: Name of the parameter, for the message.
        strs: A str, or a tuple or list of distinct str, none of them empty.

    Returns:
        The strings; a tuple of one for a lone str.

    Raises:
        InvalidParameter: It is none of these.
    """
    items = _items_of(arg_name, strs, str)
    return _checked_strs(
        f"item of parameter '{arg_name}'", f"item value '{{}}' in parameter '{arg_name}'", items
    )


def check_and_as_int_tuple_list(
    arg_name: str, ints: object, minimum: int | None = None, maximum: int | None = None
) -> tuple[int, ...]:
    """Check a parameter that is one int or several.

    Args:
        arg_name: Name of the parameter, for the message.
        ints: An int, or a tuple or list of distinct int.
        minimum: Smallest value allowed; None for no lower bound.
        maximum: Largest value allowed; None for no upper bound.

    Returns:
        The numbers; a tuple of one for a lone int.

    Raises:
        InvalidParameter: It is none of these, or a number is out of bounds.
    """
    return _checked_ints(arg_name, _items_of(arg_name, ints, int), minimum, maximum)


def check_int_tuple_list(
    arg_name: str, ints: object, minimum: int | None = None, maximum: int | None = None
) -> None:
    """Check a parameter that is a tuple or list of distinct int; a lone int is refused.

    Args:
        arg_name: Name of the parameter, for the message.
        ints: What the caller gave.
        minimum: Smallest value allowed; None for no lower bound.
        maximum: Largest value allowed; None for no upper bound.

    Raises:
        InvalidParameter: It is none of these, or a number is out of bounds.
    """
    if not isinstance(ints, (tuple, list)):
        raise InvalidParameter(
            f"Parameter '{arg_name}' should be tuple/list of int, but actually {type(ints)}"
        )
    _checked_ints(arg_name, ints, minimum, maximum)


def check_and_as_tuple_with_str_list(arg_name: str, strs: object) -> tuple[list[str], ...]:
    """Check a parameter that names groups of strings, such as the model files of each rank.

    Args:
        arg_name: Name of the parameter, for the message.
        strs: A str, or a tuple or list whose items are each a str or a tuple or list of str. Strings of one group
            differ from each other, and so do groups that are given as a plain str.

    Returns:
        One list per group; a group of one for each plain str.

    Raises:
        InvalidParameter: It is none of these.
    """
    groups = _items_of(arg_name, strs, str)
    plain = [group for group in groups if not isinstance(group, (tuple, list))]
    _checked_strs(f"item of parameter '{arg_name}'", f"item value '{{}}' in parameter '{arg_name}'", plain)
    return tuple(_checked_group(arg_name, group) for group in groups)


def _checked_group(arg_name: str, group: object) -> list[str]:
    items = group if isinstance(group, (tuple, list)) else (group,)
    inner = _checked_strs(
        f"inner of parameter '{arg_name}'", f"inner value '{{}}' in parameter '{arg_name}'", items
    )
    return list(inner)


def _items_of(arg_name: str, value: object, item_type: type) -> Sequence[object]:
    if isinstance(value, item_type):
        return (value,)
    if not isinstance(value, (tuple, list)):
        noun = item_type.__name__
        raise InvalidParameter(
            f"Parameter '{arg_name}' should be {noun} or tuple/list of {noun}, but actually {type(value)}"
        )
    return value


def _checked_strs(place: str, repeated: str, items: Sequence[object]) -> tuple[str, ...]:
    """The items as str, after a check of each.

    Args:
        place: What an item is called where it is no usable str.
        repeated: What an item is called where it is there twice; `{}` stands for its value.
        items: What the caller gave.
    """
    seen: dict[str, None] = {}
    for item in items:
        if not isinstance(item, str):
            raise InvalidParameter(f"The {place} should be str, but actually {type(item)}")
        if not item:
            raise InvalidParameter(f"The {place} should not be empty str")
        _check_no_null(f"The {place}", item)
        if item in seen:
            raise InvalidParameter(f"The {repeated.format(item)} should not be repeated")
        seen[item] = None
    return tuple(seen)


def _check_no_null(place: str, text: str) -> None:
    if "\0" in text:
        raise InvalidParameter(f"{place} should not have null characters, but actually {text!r}")


def _checked_ints(
    arg_name: str, items: Sequence[object], minimum: int | None, maximum: int | None
) -> tuple[int, ...]:
    seen: dict[int, None] = {}
    for item in items:
        place = f"The item value '{item}' in parameter '{arg_name}'"
        number = _check_int(place, item, minimum, maximum)
        if number in seen:
            raise InvalidParameter(f"{place} should not be repeated")
        seen[number] = None
    return tuple(seen)


def _check_int(place: str, value: object, minimum: int | None, maximum: int | None) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidParameter(f"{place} should be int, but actually {type(value)}")
    too_small = minimum is not None and value < minimum
    too_large = maximum is not None and value > maximum
    if not too_small and not too_large:
        return value
    if minimum is not None and maximum is not None:
        raise InvalidParameter(f"{place} should be in range [{minimum},{maximum}]")
    raise InvalidParameter(f"{place} should be {f'>= {minimum}' if too_small else f'<= {maximum}'}")
