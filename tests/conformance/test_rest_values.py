"""REST: every form of a value, as input and as output."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.conformance.row import row, stands_for
from tests.support.http_requests import HttpReply, post
from tests.support.serving import RunningServer

IDENTITY = "/model/pystage:identity"
ECHO = "/model/pystage:echo"
PARSER = "Parser request failed, "
CHECK = "Instances input x check failed, detail: "


def ask(server: RunningServer, path: str, value: str) -> HttpReply:
    """Send one instance whose input is this piece of JSON."""
    return post(server.rest, path, '{"instances":[{"x":' + value + "}]}")


def b64(array: npt.NDArray[Any]) -> str:
    return base64.b64encode(array.tobytes()).decode()


def b64_json(array: npt.NDArray[Any], kind: str, shape: bool = True) -> str:
    value: dict[str, Any] = {"b64": b64(array), "type": kind}
    if shape:
        value["shape"] = list(array.shape)
    return json.dumps(value)


# --- Values that are taken; first through a Python stage, then without any stage ---

NUMBERS = [
    row("7.2-int", "1", "1"),
    row("7.2-int", "0", "0"),
    row("7.2-int", "-0", "0"),
    row("7.2-int", "-1", "-1"),
    row("7.2-int", "2147483647", "2147483647"),
    row("7.2-int", "-2147483648", "-2147483648"),
    row("7.2-float", "1.1", "1.100000023841858"),
    row("7.2-float", "1.0", "1.0"),
    row("7.2-float", "1e2", "100.0"),
    row("7.2-float", "1E2", "100.0"),
    row("7.2-float", "-0.0", "-0.0"),
    row("7.2-float", "16777217.0", "16777216.0"),
    row("7.2-bool", "true", "true"),
    row("7.2-bool", "false", "false"),
    row("7.2-list-int", "[1]", "[1]"),
    row("7.2-list-float", "[1.5]", "[1.5]"),
    row("7.2-list-int", "[[1,2],[3,4]]", "[[1,2],[3,4]]"),
    row("7.2-list-int", "[[[1],[2]],[[3],[4]]]", "[[[1],[2]],[[3],[4]]]"),
    row("7.2-list-float", "[[1.5,2.0],[3e0,0.1]]", "[[1.5,2.0],[3.0,0.10000000149011612]]"),
    row("7.2-mixed", "[1.5,2]", "[1.5,2.0]"),
    row("7.2-mixed", "[1,2.5]", "[1.0,2.5]"),
    row("7.2-mixed", "[[1,2],[3,4.5]]", "[[1.0,2.0],[3.0,4.5]]"),
    row("7.2-mixed", "[[1,2],[3.5,4.5]]", "[[1.0,2.0],[3.5,4.5]]"),
    row("7.2-mixed", "[3000000000,0.5]", "[3000000000.0,0.5]"),
    row("7.2-float-range", "3.4028235e38", "3.4028234663852886e38"),
    row("7.2-float-range", "[-3.4028235e38,1e-50]", "[-3.4028234663852886e38,0.0]"),
    row("7.2-list-bool", "[true,false]", "[true,false]"),
    row("7.2-list-bool", "[[true],[false]]", "[[true],[false]]"),
    row("7.2-b64-type-shape", '{"b64":"AACAPw==","type":"fp32","shape":[1]}', "[1.0]"),
    row("7.2-b64-scalar", '{"b64":"ADw=","type":"fp16","shape":[]}', "1.0"),
    row("7.2-b64-default-shape", '{"b64":"ADw=","type":"fp16"}', "1.0"),
    row("7.2-b64-key-order", '{"shape":[2],"type":"int8","b64":"AQI="}', "[1,2]"),
    row("7.2-b64-empty", '{"b64":"","type":"int32","shape":[0]}', "[]"),
    row("7.2-b64-empty", '{"b64":"","type":"int32","shape":[1,0]}', "[[]]"),
    row("7.2-b64-empty", '{"b64":"","type":"float32","shape":[2,0]}', "[[],[]]"),
    row("7.2-b64-empty", '{"b64":"","type":"bool","shape":[0]}', "[]"),
    row("7.3-nan", '{"b64":"AACAfw==","type":"fp32","shape":[]}', "null"),
    row("7.3-nan", '{"b64":"AACA/w==","type":"fp32"}', "null"),
    row("7.3-nan", '{"b64":"AADAfw==","type":"fp32"}', "null"),
    row("7.3-nan", b64_json(np.array([1, np.nan, np.inf, 2], np.float32), "fp32"), "[1.0,null,null,2.0]"),
    row("7.3-nan", b64_json(np.array([[1, -np.inf]], np.float16), "fp16"), "[[1.0,null]]"),
    row("7.3-nan", b64_json(np.array([np.nan, 0.5], np.float64), "fp64"), "[null,0.5]"),
    row("7.3-float16", b64_json(np.array(0.1, np.float16), "float16"), "0.0999755859375"),
    row("7.3-float16", b64_json(np.array([0.1], np.float16), "fp16"), "[0.0999755859375]"),
    row("7.3-float32", b64_json(np.array(0.1, np.float32), "float32"), "0.10000000149011612"),
    row("7.3-float64", b64_json(np.array([0.1, 1e300], np.float64), "float64"), "[0.1,1e300]"),
    row("7.2-type-int64", b64_json(np.array((1 << 63) - 1, np.int64), "int64"), "9223372036854775807"),
    row("7.2-type-int64", b64_json(np.array(-(1 << 63), np.int64), "int64"), "-9223372036854775808"),
    row("7.2-type-uint64", b64_json(np.array((1 << 64) - 1, np.uint64), "uint64"), "18446744073709551615"),
    row(
        "7.2-type-uint64", b64_json(np.array([(1 << 64) - 1], np.uint64), "uint64"), "[18446744073709551615]"
    ),
    row("7.2-type-uint32", b64_json(np.array([0, (1 << 32) - 1], np.uint32), "uint32"), "[0,4294967295]"),
    row("7.2-type-int8", b64_json(np.array([-128, 127], np.int8), "int8"), "[-128,127]"),
    row("7.2-type-uint8", b64_json(np.array([0, 255], np.uint8), "uint8"), "[0,255]"),
    row("7.2-type-int16", b64_json(np.array([-32768, 32767], np.int16), "int16"), "[-32768,32767]"),
    row("7.2-type-uint16", b64_json(np.array([0, 65535], np.uint16), "uint16"), "[0,65535]"),
    row("7.2-type-bool", b64_json(np.array([True, False]), "bool"), "[true,false]"),
    row("7.2-type-bool", b64_json(np.array(True), "bool", shape=False), "true"),
]


def same_json(got: str, expected: str) -> bool:
    """Whether both are the same value; whole floats keep their `.0`, otherwise a number may be written differently."""
    tell = {
        "parse_int": lambda text: ("int", int(text)),
        "parse_float": lambda text: ("float", repr(float(text))),
    }
    return bool(json.loads(got, **tell) == json.loads(expected, **tell))  # type: ignore[call-overload]


@pytest.mark.parametrize("path", [IDENTITY, ECHO], ids=["identity", "echo"])
@pytest.mark.parametrize(("value", "expected"), NUMBERS)
def test_numbers(server: RunningServer, path: str, value: str, expected: str) -> None:
    reply = ask(server, path, value)
    assert reply.status == 200, reply.text
    assert same_json(reply.text, '{"instances":[{"y":' + expected + "}]}"), reply.text


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        # A stage sees text as str, and bytes as an array of uint8; what it returns has no shape of before.
        row("7.2-str", IDENTITY, '"abc"', '"abc"'),
        row("7.2-str-list", IDENTITY, '["abc"]', '"abc"'),
        row("7.2-str", IDENTITY, '""', '""'),
        row("7.2-str-list", IDENTITY, '[""]', '""'),
        row("7.2-b64", IDENTITY, '{"b64":"YWJj"}', "[97,98,99]"),
        row("7.2-b64-list", IDENTITY, '[{"b64":"YWJj"}]', "[97,98,99]"),
        row("7.2-b64", IDENTITY, '{"b64":""}', "[]"),
        row("7.2-type-bytes", IDENTITY, '{"b64":"YWJj","type":"bytes"}', "[97,98,99]"),
        row("7.2-type-bytes", IDENTITY, '{"b64":"YWJj","type":"bytes","shape":[1]}', "[97,98,99]"),
        row("7.2-type-str", IDENTITY, '{"b64":"YWJj","type":"str"}', '"abc"'),
        row("7.2-type-str", IDENTITY, '{"b64":"YWJj","type":"str","shape":[1]}', '"abc"'),
        row("7.2-type-str", IDENTITY, '{"b64":"YWJj","type":"str","shape":[]}', '"abc"'),
        row("7.2-b64-list", IDENTITY, '[{"b64":"YWJj","type":"str"}]', '"abc"'),
        row("7.2-b64-list", IDENTITY, '[{"b64":"YWJj","type":"bytes"}]', "[97,98,99]"),
        row("7.2-type-str", IDENTITY, '{"b64":"","type":"str"}', '""'),
        row("7.2-str-unicode", IDENTITY, '"h\\u00e9llo \\ud83d\\ude00"', '"h\u00e9llo \U0001f600"'),
        row("7.2-str-unicode", IDENTITY, '"h\u00e9llo \U0001f600"', '"h\u00e9llo \U0001f600"'),
        row("7.2-str-control", IDENTITY, '"a\\"b\\\\c\\n\\u0000\\u001f/"', '"a\\"b\\\\c\\n\\u0000\\u001f/"'),
        row("7.3-str", ECHO, '"abc"', '"abc"'),
        row("7.3-str-list", ECHO, '["abc"]', '["abc"]'),
        row("7.3-str", ECHO, '""', '""'),
        row("7.3-bytes", ECHO, '{"b64":"YWJj"}', '{"b64":"YWJj"}'),
        row("7.3-bytes-list", ECHO, '[{"b64":"YWJj"}]', '[{"b64":"YWJj"}]'),
        row("7.3-bytes", ECHO, '{"b64":""}', '{"b64":""}'),
        row("7.3-bytes", ECHO, '{"b64":"YWI=","type":"bytes"}', '{"b64":"YWI="}'),
        row("7.3-bytes-list", ECHO, '{"b64":"YQ==","type":"bytes","shape":[1]}', '[{"b64":"YQ=="}]'),
        row("7.3-str", ECHO, '{"b64":"YWJj","type":"str"}', '"abc"'),
        row("7.3-str-list", ECHO, '[{"b64":"YWJj","type":"str"}]', '["abc"]'),
        row("7.3-bytes", ECHO, '{"b64":"+/+/","type":"bytes"}', '{"b64":"+/+/"}'),
    ],
)
def test_texts_and_bytes(server: RunningServer, path: str, value: str, expected: str) -> None:
    reply = ask(server, path, value)
    assert reply.status == 200, reply.text
    if "\\u0000" in expected:  # control characters may be written in more than one way
        assert json.loads(reply.text) == {"instances": [{"y": json.loads(expected)}]}
    else:
        assert reply.text == '{"instances":[{"y":' + expected + "}]}"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        row(
            "7.3-number-forms",
            '{"instances":{"x":[[0.1,100000000.0],[1e-7,3.4e38]]}}',
            '{"instances":[{"y":[[0.10000000149011612,100000000.0],'
            "[1.0000000116860974e-07,3.3999999521443642e+38]]}]}",
        ),
        row("7.1-other-keys", '{"instances":[{"x":-1}],"foo":1}', '{"instances":[{"y":-1}]}'),
        row("7.1-key-twice", '{"instances":[{"x":1, "x":2}]}', '{"instances":[{"y":2}]}'),
        row(
            "7.1-key-twice",
            '{"instances":[{"x":1}],"instances":[{"x":2},{"x":3}]}',
            '{"instances":[{"y":2},{"y":3}]}',
        ),
        row(
            "7.2-one-bad-value",
            '{"instances":[{"x":1},{"x":1.5},{"x":"a"},{"x":[true]},{"x":{"b64":"AQ==","type":"int8"}},{"x":[[]]}]}',
            "",
        ),
        row(
            "7.2-values-of-many-kinds",
            '{"instances":[{"x":1},{"x":1.5},{"x":"a"},{"x":[true]},{"x":{"b64":"AQ==","type":"int8"}}]}',
            '{"instances":[{"y":1},{"y":1.5},{"y":"a"},{"y":[true]},{"y":1}]}',
        ),
        row("7.1-blanks", '\n\t {"instances" : [ { "x" : [ 1 , 2 ] } ] }\r\n', '{"instances":[{"y":[1,2]}]}'),
        row("7.1-escaped-keys", '{"\\u0069nstances":[{"\\u0078":1}]}', '{"instances":[{"y":1}]}'),
    ],
)
def test_whole_bodies(server: RunningServer, body: str, expected: str) -> None:
    reply = post(server.rest, IDENTITY, body)
    if expected:
        assert reply.status == 200
        assert same_json(reply.text, expected), reply.text
    else:
        assert (reply.status, reply.error) == (400, PARSER + "json array, data type is unknown")


@stands_for("7.3-many-instances")
def test_many_instances(server: RunningServer) -> None:
    body = {"instances": [{"x": [i, i + 1]} for i in range(1000)]}
    reply = post(server.rest, IDENTITY, body)
    assert json.loads(reply.text) == {"instances": [{"y": [i, i + 1]} for i in range(1000)]}


# --- Values that are refused ---

ONLY_B64 = "json object, key is not ['b64', 'type', 'shape'], fail key:"
NOT_EQUAL = "json array, elements type is not equal"
NOT_ARRAY = "invalid json array: json type is not array"
NOT_SCALAR = "json array, data should be number, bool, string or bytes"
ONE_TEXT = "json array, string or bytes type only support one item"
UNSIGNED = "json object, key is 'shape', array value should be unsigned integer"
ONLY_SCALAR = (
    "json object, only support scalar when data type is string or bytes, please check 'type' or 'shape'"
)
NOT_STRING = "get scalar data failed, type is string, but json is not string type"
BAD_BASE64 = "decode base64 failed, size is not matched."
TEXT_SHAPE = (
    "Instance tensor check failed: bytes or string type input  shape can only be (1,) or empty, "
    "but given shape is "
)


def out_of_range(number: str, kind: str = "int32", other: str = "int64") -> str:
    return (
        f"data out of {kind} range: input x has {number}; other types are sent as base64, for example "
        f'{{"b64": "...", "type": "{other}", "shape": [...]}}'
    )


def out_of_float_range(number: str) -> str:
    return out_of_range(number, "float32", "fp64")


def inexact(number: int) -> str:
    return f"data is not exact in float32: input x has {number}; add .0 to it if the nearest float32 will do"


def ragged(size: int, dim: int, expected: int) -> str:
    return f"invalid json array: json size is {size}, the dim {dim} expected to be {expected}"


def unmatched(size: int, kind: str, item: int, count: int) -> str:
    return (
        f"size is not matched, decode base64 size:{size}; Given info: type:{kind}; "
        f"type size:{item}; element nums:{count}"
    )


def illegal(text: str) -> str:
    return f"'{text}' is illegal b64 encode string"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        row("7.2-null", "null", "json value is null, it is not supported"),
        row("7.2-empty-list", "[]", "json array, shape is empty"),
        row("7.2-empty-nested", "[[]]", "json array, data type is unknown"),
        row("7.2-empty-nested", "[[],[]]", "json array, data type is unknown"),
        # Ragged.
        row("7.2-ragged", "[[1,2],[3]]", ragged(1, 1, 2)),
        row("7.2-ragged", "[[1.0,2.0],[3.0]]", ragged(1, 1, 2)),
        row("7.2-ragged", "[[1],[2,3]]", ragged(2, 1, 1)),
        row("7.2-ragged", "[[1,2],[]]", ragged(0, 1, 2)),
        row("7.2-ragged", "[[[1,2],[3,4]],[[5,6]]]", ragged(1, 1, 2)),
        row("7.2-ragged", "[[[1,2]],[[3]]]", ragged(1, 2, 2)),
        row("7.2-ragged", "[[[1,2],[3]]]", ragged(1, 2, 2)),
        row("7.2-ragged", "[[true,false],[true]]", ragged(1, 1, 2)),
        row("7.2-scalar-where-list", "[[1,2],3]", NOT_ARRAY),
        row("7.2-scalar-where-list", "[[[1]],[2]]", NOT_ARRAY),
        row("7.2-scalar-where-list", '[[1],"a"]', NOT_ARRAY),
        row("7.2-scalar-where-list", "[[1],null]", NOT_ARRAY),
        row("7.2-list-where-scalar", "[1,[2]]", NOT_SCALAR),
        row("7.2-list-where-scalar", "[1,[]]", NOT_SCALAR),
        row("7.2-list-where-scalar", "[[1,[2]]]", NOT_SCALAR),
        # Mixed.
        row("7.2-mixed", "[1,true]", NOT_EQUAL),
        row("7.2-mixed", "[true,1]", NOT_EQUAL),
        row("7.2-mixed", "[1.5,true]", NOT_EQUAL),
        row("7.2-mixed", "[false,1.5]", NOT_EQUAL),
        row("7.2-mixed", '[1,"a"]', NOT_EQUAL),
        row("7.2-mixed", '[1.5,"a"]', NOT_EQUAL),
        row("7.2-mixed", '[true,"a"]', NOT_EQUAL),
        row("7.2-mixed", "[[1.5],[true]]", NOT_EQUAL),
        row("7.2-mixed", '[[1,"a"],[2]]', NOT_EQUAL),
        row("7.2-mixed", '[1,{"b64":"YWJj"}]', NOT_SCALAR),
        row("7.2-mixed", '[[true,false],[{"b64":""},{"b64":""}]]', NOT_SCALAR),
        row("7.2-mixed", "[1,null]", NOT_SCALAR),
        row("7.2-mixed", "[null]", "json array, data type is unknown"),
        row("7.2-mixed", "[[null],[1]]", "json array, data type is unknown"),
        # Numbers.
        row("7.2-int-range", "2147483648", out_of_range("2147483648")),
        row("7.2-int-range", "-2147483649", out_of_range("-2147483649")),
        row("7.2-int-range", "3000000000", out_of_range("3000000000")),
        row("7.2-int-range", "9223372036854775807", out_of_range("9223372036854775807")),
        row("7.2-int-range", "18446744073709551615", out_of_range("18446744073709551615")),
        row("7.2-int-range", "18446744073709551616", out_of_range("18446744073709551616")),
        row("7.2-int-range", "[1,3000000000]", out_of_range("3000000000")),
        row("7.2-int-range", "[[1,2],[3,-3000000000]]", out_of_range("-3000000000")),
        row("7.2-float-range", "1e39", out_of_float_range("1e+39")),
        row("7.2-float-range", "-3.4028236e38", out_of_float_range("-3.4028236e+38")),
        row("7.2-float-range", "[1.5,1e39]", out_of_float_range("1e+39")),
        row("7.2-float-range", "[[1.5],[-1e300]]", out_of_float_range("-1e+300")),
        row("7.2-float-range", f"[{'0.5,' * 99}1e39]", out_of_float_range("1e+39")),
        row("7.2-float-range", "[1,1e39]", out_of_float_range("1e+39")),
        row("7.2-mixed", "[16777217,2.5]", inexact(16777217)),
        row("7.2-mixed", "[[0.5],[9007199254740993]]", inexact(9007199254740993)),
        # Texts.
        row("7.2-one-text", '["a","b"]', ONE_TEXT),
        row("7.2-one-text", '["a",1.2]', ONE_TEXT),
        row("7.2-one-text", '[["a",1.2]]', ONE_TEXT),
        row("7.2-one-text", '[["a","b"],[1.1,1.2]]', ONE_TEXT),
        row("7.2-one-text", '["a",["a"]]', ONE_TEXT),
        row("7.2-one-text", '[[{"b64":""},{"b64":""}],["a","b"]]', ONE_TEXT),
        row("7.2-one-text", '[[{"b64":""},{"b64":""}],[true,false]]', ONE_TEXT),
        row("7.2-one-text", '[{"b64":"!!!"},1]', ONE_TEXT),
        row("7.2-one-text", '[["a"],["b"]]', ONE_TEXT),
        row("7.2-one-text", '[{"b64":"YQ=="},{"b64":"YQ=="}]', ONE_TEXT),
        row(
            "7.2-b64-number-in-list",
            '[{"b64":"AACAPw==","type":"fp32"}]',
            "json array, item is object type, object only support string or bytes type",
        ),
        # Objects.
        row(
            "7.2-b64-more-keys",
            '{"b64":"","type":"int32","shape":[0],"x":1}',
            "json object, items size is more than 3, only support specified ['b64', 'type', 'shape']",
        ),
        row("7.2-b64-unknown-key", '{"foo":1}', ONLY_B64 + "foo"),
        row("7.2-b64-unknown-key", '{"b64":"YWJj","foo":1}', ONLY_B64 + "foo"),
        row("7.2-b64-unknown-key", '{"b64":"YWJj","Type":"str"}', ONLY_B64 + "Type"),
        row("7.2-b64-missing", '{"type":"int32"}', "json object, 'b64' should be specified only one time"),
        row(
            "7.2-b64-missing",
            '{"type":"int32","shape":[1]}',
            "json object, 'b64' should be specified only one time",
        ),
        row(
            "7.2-b64-type-not-str",
            '{"b64":"YWJj","type":1}',
            "json object, key is 'type', value should be string type",
        ),
        row(
            "7.2-b64-type-not-str",
            '{"b64":"YWJj","type":null}',
            "json object, key is 'type', value should be string type",
        ),
        row(
            "7.2-b64-type-not-str",
            '{"b64":"YWJj","type":["str"]}',
            "json object, key is 'type', value should be string type",
        ),
        row(
            "7.2-b64-unknown-type",
            '{"b64":"YWJj","type":"zz"}',
            "json object, specified type:'zz' is illegal",
        ),
        row("7.2-b64-unknown-type", '{"b64":"YWJj","type":""}', "json object, specified type:'' is illegal"),
        row(
            "7.2-b64-unknown-type",
            '{"b64":"YWJj","type":"FP32"}',
            "json object, specified type:'FP32' is illegal",
        ),
        row(
            "7.2-b64-shape-no-list",
            '{"b64":"AQ==","type":"int8","shape":1}',
            "json object, key is 'shape', value should be array type",
        ),
        row(
            "7.2-b64-shape-no-list",
            '{"b64":"AQ==","type":"int8","shape":"1"}',
            "json object, key is 'shape', value should be array type",
        ),
        row(
            "7.2-b64-shape-no-list",
            '{"b64":"AQ==","type":"int8","shape":null}',
            "json object, key is 'shape', value should be array type",
        ),
        row(
            "7.2-b64-shape-no-list",
            '{"b64":"AQ==","type":"int8","shape":{}}',
            "json object, key is 'shape', value should be array type",
        ),
        row("7.2-b64-shape-item", '{"b64":"AQ==","type":"int8","shape":[-1]}', UNSIGNED),
        row("7.2-b64-shape-item", '{"b64":"AQ==","type":"int8","shape":[1.0]}', UNSIGNED),
        row("7.2-b64-shape-item", '{"b64":"AQ==","type":"int8","shape":["1"]}', UNSIGNED),
        row("7.2-b64-shape-item", '{"b64":"AQ==","type":"int8","shape":[[1]]}', UNSIGNED),
        row("7.2-b64-shape-item", '{"b64":"AQ==","type":"int8","shape":[null]}', UNSIGNED),
        row("7.2-b64-shape-item", '{"b64":"AQ==","type":"int8","shape":[true]}', UNSIGNED),
        row(
            "7.2-b64-dim-after-zero",
            '{"b64":"","type":"int8","shape":[0,1]}',
            "json object, key is 'shape', invalid shape value [0,1]",
        ),
        row(
            "7.2-b64-dim-after-zero",
            '{"b64":"","type":"int8","shape":[2, 0, 3]}',
            "json object, key is 'shape', invalid shape value [2,0,3]",
        ),
        row("7.2-b64-text-shape", '{"b64":"YWJj","type":"str","shape":[2]}', ONLY_SCALAR),
        row("7.2-b64-text-shape", '{"b64":"YWJj","type":"bytes","shape":[1,2]}', ONLY_SCALAR),
        row("7.2-b64-text-shape", '{"b64":"YWJj","type":"str","shape":[0]}', ONLY_SCALAR),
        row("7.2-b64-text-shape", '{"b64":"YWJj","shape":[3]}', ONLY_SCALAR),
        row("7.2-b64-not-str", '{"b64":1}', NOT_STRING),
        row("7.2-b64-not-str", '{"b64":null}', NOT_STRING),
        row("7.2-b64-not-str", '{"b64":["YWJj"]}', NOT_STRING),
        row("7.2-b64-not-str", '{"b64":1,"type":"int8"}', NOT_STRING),
        # Base64.
        row("7.2-b64-length", '{"b64":"!!!"}', illegal("!!!")),
        row("7.2-b64-length", '{"b64":"YWJ"}', illegal("YWJ")),
        row("7.2-b64-length", '{"b64":"Y","type":"int8"}', illegal("Y")),
        row("7.2-b64-length", '[{"b64":"YWJ"}]', illegal("YWJ")),
        row("7.2-b64-content", '{"b64":"YW!j"}', BAD_BASE64),
        row("7.2-b64-content", '{"b64":"!!!!"}', BAD_BASE64),
        row("7.2-b64-content", '{"b64":"Y==="}', BAD_BASE64),
        row("7.2-b64-content", '{"b64":"===="}', BAD_BASE64),
        row("7.2-b64-content", '{"b64":"YW=j"}', BAD_BASE64),
        row("7.2-b64-content", '{"b64":"-_-_"}', BAD_BASE64),
        row("7.2-b64-content", '{"b64":"YWJ\\n"}', BAD_BASE64),
        row("7.2-b64-content", '{"b64":"YW J"}', BAD_BASE64),
        row("7.2-b64-content", '{"b64":"YQ==YQ=="}', BAD_BASE64),
        row("7.2-b64-content", '{"b64":"\u00e9\u00e9\u00e9\u00e9","type":"int8"}', BAD_BASE64),
        row("7.2-b64-size", '{"b64":"AAA=","type":"fp32","shape":[2,2]}', unmatched(2, "float32", 4, 4)),
        row("7.2-b64-size", '{"b64":"AAA=","type":"float32","shape":[2,2]}', unmatched(2, "float32", 4, 4)),
        row("7.2-b64-size", '{"b64":"AAAA","type":"fp16"}', unmatched(3, "float16", 2, 1)),
        row("7.2-b64-size", '{"b64":"AAAA","type":"fp64","shape":[]}', unmatched(3, "float64", 8, 1)),
        row("7.2-b64-size", '{"b64":"AAAA","type":"int8","shape":[2]}', unmatched(3, "int8", 1, 2)),
        row("7.2-b64-size", '{"b64":"AAAA","type":"uint64"}', unmatched(3, "uint64", 8, 1)),
        row("7.2-b64-size", '{"b64":"AAAA","type":"bool","shape":[2]}', unmatched(3, "bool", 1, 2)),
        row("7.2-b64-size", '{"b64":"","type":"int32"}', unmatched(0, "int32", 4, 1)),
        row("7.2-b64-size", '{"b64":"AAAA","type":"int16","shape":[3,0]}', unmatched(3, "int16", 2, 0)),
    ],
)
def test_refused_by_the_parser(server: RunningServer, value: str, text: str) -> None:
    reply = ask(server, IDENTITY, value)
    assert (reply.status, reply.error) == (400, PARSER + text)


# --- Values that go straight into a model, which takes float32 ---

ADD = "/model/add:add_common"
MODEL_RANGE = "the method takes float32"


def ask_model(server: RunningServer, x1: str) -> HttpReply:
    return post(server.rest, ADD, '{"instances":[{"x1":' + x1 + ',"x2":[[0,0],[0,0.5]]}]}')


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        row("7.2-int-for-float-model", "[[1,2],[3,4]]", "[[1.0,2.0],[3.0,4.5]]"),
        row("7.2-int-for-float-model", "[[1,2.5],[-3,4]]", "[[1.0,2.5],[-3.0,4.5]]"),
        row(
            "7.2-int-for-float-model", "[[16777216,-16777218],[0,0]]", "[[16777216.0,-16777218.0],[0.0,0.5]]"
        ),
        row("7.2-int-for-float-model", "[[3000000000,1],[0,0]]", "[[3000000000.0,1.0],[0.0,0.5]]"),
        row("7.2-int-for-float-model", f"[[{1 << 80},1],[0,0]]", f"[[{float(1 << 80)!r},1.0],[0.0,0.5]]"),
        row("7.2-int-for-float-model", "[[16777217.0,1],[0,0]]", "[[16777216.0,1.0],[0.0,0.5]]"),
    ],
)
def test_integers_for_a_model_that_takes_floats(server: RunningServer, value: str, expected: str) -> None:
    reply = ask_model(server, value)
    assert reply.status == 200, reply.text
    assert same_json(reply.text, '{"instances":[{"y":' + expected + "}]}"), reply.text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        row(
            "7.2-int-for-float-model",
            "[[16777217,0],[0,0]]",
            PARSER + inexact(16777217).replace("input x ", "input x1 "),
        ),
        row(
            "7.2-int-for-float-model",
            "[[0,1e39],[0,0]]",
            f"{PARSER}data out of float32 range: input x1 has 1e+39; {MODEL_RANGE}",
        ),
        row(
            "7.2-int-for-float-model",
            f"[[0,{10**40}],[0,0]]",
            f"{PARSER}data out of float32 range: input x1 has {10**40}; {MODEL_RANGE}",
        ),
        row(
            "7.2-int-for-float-model",
            b64_json(np.ones((2, 2), np.int32), "int32"),
            "Given model input 0 data type kMSI_Int32 not match the data type kMSI_Float32 defined in model",
        ),
    ],
)
def test_what_such_a_model_cannot_take(server: RunningServer, value: str, text: str) -> None:
    reply = ask_model(server, value)
    assert reply.status == 400
    assert reply.error.startswith(text)  # the model runner may say more


@pytest.mark.parametrize(
    ("value", "text"),
    [
        row("7.2-str-nested", '[["a"]]', TEXT_SHAPE + "[1, 1]"),
        row("7.2-str-nested", '[[["a"]]]', TEXT_SHAPE + "[1, 1, 1]"),
        row("7.2-b64-nested", '[[{"b64":"YWJj"}]]', TEXT_SHAPE + "[1, 1]"),
        row("7.2-b64-str-nested", '{"b64":"YWJj","type":"str","shape":[1,1]}', TEXT_SHAPE + "[1, 1]"),
    ],
)
def test_refused_by_the_check_of_instances(server: RunningServer, value: str, text: str) -> None:
    reply = ask(server, IDENTITY, value)
    assert (reply.status, reply.error) == (400, CHECK + text)


@pytest.mark.parametrize(
    "value",
    [
        row("7.2-refused", "{}"),
        row("7.2-refused", '[{"foo":1}]'),
        row("7.2-refused", '[{"b64":1}]'),
        row("7.2-refused", '{"b64":"/w==","type":"str"}'),
        row("7.2-refused", '{"b64":"AQ==","type":"int8","shape":[18446744073709551616]}'),
        row("7.2-refused", '{"b64":"AQ==","type":"int8","shape":[4294967296,4294967296]}'),
        row("7.2-refused", '{"b64":"","type":"int8","shape":[4294967296,4294967296]}'),
    ],
)
def test_refused_somehow(server: RunningServer, value: str) -> None:
    reply = ask(server, IDENTITY, value)
    assert reply.status in (400, 500)
    assert reply.error


@pytest.mark.parametrize("digits", [19, 20, 25])
def test_long_integers_in_large_bodies(server: RunningServer, digits: int) -> None:
    for shift in range(8):
        body = '{"instances":[{"x":"' + "a" * (1 << 15) + " " * shift + '"},{"x":' + "9" * digits + "}]}"
        reply = post(server.rest, ECHO, body)
        assert (reply.status, reply.error) == (400, PARSER + out_of_range("9" * digits))


@pytest.mark.parametrize(
    "value",
    [
        row("7.2-float-range", "1e39"),
        row("7.2-float-range", "1e400"),
        row("7.2-float-range", "-1e400"),
        row("7.2-float-range", "[1e400]"),
        row("7.2-float-range", "1e-400"),
    ],
)
def test_floats_out_of_range_are_answered(server: RunningServer, value: str) -> None:
    reply = ask(server, IDENTITY, value)
    assert reply.status in (200, 400)
    json.loads(reply.text)


@pytest.mark.parametrize(
    "bad",
    [
        row("7.2-whole-request", "[1,true]"),
        row("7.2-whole-request", "null"),
        row("7.2-whole-request", "[]"),
        row("7.2-whole-request", '{"b64":"YWJ"}'),
    ],
)
def test_one_bad_value_refuses_the_whole_request(server: RunningServer, bad: str) -> None:
    single = ask(server, IDENTITY, bad)
    reply = post(server.rest, IDENTITY, '{"instances":[{"x":1},{"x":' + bad + '},{"x":2}]}')
    assert (reply.status, reply.text) == (400, single.text)
