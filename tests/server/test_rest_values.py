"""REST: every form of a value, as input and as output."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.server.http_requests import HttpReply, post
from tests.serving import RunningServer

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
    ("1", "1"),
    ("0", "0"),
    ("-0", "0"),
    ("-1", "-1"),
    ("2147483647", "2147483647"),
    ("-2147483648", "-2147483648"),
    ("1.1", "1.100000023841858"),
    ("1.0", "1.0"),
    ("1e2", "100.0"),
    ("1E2", "100.0"),
    ("-0.0", "-0.0"),
    ("16777217.0", "16777216.0"),
    ("true", "true"),
    ("false", "false"),
    ("[1]", "[1]"),
    ("[1.5]", "[1.5]"),
    ("[[1,2],[3,4]]", "[[1,2],[3,4]]"),
    ("[[[1],[2]],[[3],[4]]]", "[[[1],[2]],[[3],[4]]]"),
    ("[[1.5,2.0],[3e0,0.1]]", "[[1.5,2.0],[3.0,0.10000000149011612]]"),
    ("[true,false]", "[true,false]"),
    ("[[true],[false]]", "[[true],[false]]"),
    ('{"b64":"AACAPw==","type":"fp32","shape":[1]}', "[1.0]"),
    ('{"b64":"ADw=","type":"fp16","shape":[]}', "1.0"),
    ('{"b64":"ADw=","type":"fp16"}', "1.0"),
    ('{"shape":[2],"type":"int8","b64":"AQI="}', "[1,2]"),
    ('{"b64":"","type":"int32","shape":[0]}', "[]"),
    ('{"b64":"","type":"int32","shape":[1,0]}', "[[]]"),
    ('{"b64":"","type":"float32","shape":[2,0]}', "[[],[]]"),
    ('{"b64":"","type":"bool","shape":[0]}', "[]"),
    ('{"b64":"AACAfw==","type":"fp32","shape":[]}', "null"),
    ('{"b64":"AACA/w==","type":"fp32"}', "null"),
    ('{"b64":"AADAfw==","type":"fp32"}', "null"),
    (b64_json(np.array([1, np.nan, np.inf, 2], np.float32), "fp32"), "[1.0,null,null,2.0]"),
    (b64_json(np.array([[1, -np.inf]], np.float16), "fp16"), "[[1.0,null]]"),
    (b64_json(np.array([np.nan, 0.5], np.float64), "fp64"), "[null,0.5]"),
    (b64_json(np.array(0.1, np.float16), "float16"), "0.0999755859375"),
    (b64_json(np.array([0.1], np.float16), "fp16"), "[0.0999755859375]"),
    (b64_json(np.array(0.1, np.float32), "float32"), "0.10000000149011612"),
    (b64_json(np.array([0.1, 1e300], np.float64), "float64"), "[0.1,1e300]"),
    (b64_json(np.array((1 << 63) - 1, np.int64), "int64"), "9223372036854775807"),
    (b64_json(np.array(-(1 << 63), np.int64), "int64"), "-9223372036854775808"),
    (b64_json(np.array((1 << 64) - 1, np.uint64), "uint64"), "18446744073709551615"),
    (b64_json(np.array([(1 << 64) - 1], np.uint64), "uint64"), "[18446744073709551615]"),
    (b64_json(np.array([0, (1 << 32) - 1], np.uint32), "uint32"), "[0,4294967295]"),
    (b64_json(np.array([-128, 127], np.int8), "int8"), "[-128,127]"),
    (b64_json(np.array([0, 255], np.uint8), "uint8"), "[0,255]"),
    (b64_json(np.array([-32768, 32767], np.int16), "int16"), "[-32768,32767]"),
    (b64_json(np.array([0, 65535], np.uint16), "uint16"), "[0,65535]"),
    (b64_json(np.array([True, False]), "bool"), "[true,false]"),
    (b64_json(np.array(True), "bool", shape=False), "true"),
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
        (IDENTITY, '"abc"', '"abc"'),
        (IDENTITY, '["abc"]', '"abc"'),
        (IDENTITY, '""', '""'),
        (IDENTITY, '[""]', '""'),
        (IDENTITY, '{"b64":"YWJj"}', "[97,98,99]"),
        (IDENTITY, '[{"b64":"YWJj"}]', "[97,98,99]"),
        (IDENTITY, '{"b64":""}', "[]"),
        (IDENTITY, '{"b64":"YWJj","type":"bytes"}', "[97,98,99]"),
        (IDENTITY, '{"b64":"YWJj","type":"bytes","shape":[1]}', "[97,98,99]"),
        (IDENTITY, '{"b64":"YWJj","type":"str"}', '"abc"'),
        (IDENTITY, '{"b64":"YWJj","type":"str","shape":[1]}', '"abc"'),
        (IDENTITY, '{"b64":"YWJj","type":"str","shape":[]}', '"abc"'),
        (IDENTITY, '[{"b64":"YWJj","type":"str"}]', '"abc"'),
        (IDENTITY, '[{"b64":"YWJj","type":"bytes"}]', "[97,98,99]"),
        (IDENTITY, '{"b64":"","type":"str"}', '""'),
        (IDENTITY, '"h\\u00e9llo \\ud83d\\ude00"', '"h\u00e9llo \U0001f600"'),
        (IDENTITY, '"h\u00e9llo \U0001f600"', '"h\u00e9llo \U0001f600"'),
        (IDENTITY, '"a\\"b\\\\c\\n\\u0000\\u001f/"', '"a\\"b\\\\c\\n\\u0000\\u001f/"'),
        (ECHO, '"abc"', '"abc"'),
        (ECHO, '["abc"]', '["abc"]'),
        (ECHO, '""', '""'),
        (ECHO, '{"b64":"YWJj"}', '{"b64":"YWJj"}'),
        (ECHO, '[{"b64":"YWJj"}]', '[{"b64":"YWJj"}]'),
        (ECHO, '{"b64":""}', '{"b64":""}'),
        (ECHO, '{"b64":"YWI=","type":"bytes"}', '{"b64":"YWI="}'),
        (ECHO, '{"b64":"YQ==","type":"bytes","shape":[1]}', '[{"b64":"YQ=="}]'),
        (ECHO, '{"b64":"YWJj","type":"str"}', '"abc"'),
        (ECHO, '[{"b64":"YWJj","type":"str"}]', '["abc"]'),
        (ECHO, '{"b64":"+/+/","type":"bytes"}', '{"b64":"+/+/"}'),
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
        (
            '{"instances":{"x":[[0.1,100000000.0],[1e-7,3.4e38]]}}',
            '{"instances":[{"y":[[0.10000000149011612,100000000.0],'
            "[1.0000000116860974e-07,3.3999999521443642e+38]]}]}",
        ),
        ('{"instances":[{"x":-1}],"foo":1}', '{"instances":[{"y":-1}]}'),
        ('{"instances":[{"x":1, "x":2}]}', '{"instances":[{"y":2}]}'),
        ('{"instances":[{"x":1}],"instances":[{"x":2},{"x":3}]}', '{"instances":[{"y":2},{"y":3}]}'),
        (
            '{"instances":[{"x":1},{"x":1.5},{"x":"a"},{"x":[true]},{"x":{"b64":"AQ==","type":"int8"}},{"x":[[]]}]}',
            "",
        ),
        (
            '{"instances":[{"x":1},{"x":1.5},{"x":"a"},{"x":[true]},{"x":{"b64":"AQ==","type":"int8"}}]}',
            '{"instances":[{"y":1},{"y":1.5},{"y":"a"},{"y":[true]},{"y":1}]}',
        ),
        ('\n\t {"instances" : [ { "x" : [ 1 , 2 ] } ] }\r\n', '{"instances":[{"y":[1,2]}]}'),
        ('{"\\u0069nstances":[{"\\u0078":1}]}', '{"instances":[{"y":1}]}'),
    ],
)
def test_whole_bodies(server: RunningServer, body: str, expected: str) -> None:
    reply = post(server.rest, IDENTITY, body)
    if expected:
        assert reply.status == 200
        assert same_json(reply.text, expected), reply.text
    else:
        assert (reply.status, reply.error) == (400, PARSER + "json array, data type is unknown")


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
RANGE = "data out of int32 range"
TEXT_SHAPE = (
    "Instance tensor check failed: bytes or string type input  shape can only be (1,) or empty, "
    "but given shape is "
)


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
        ("null", "json value is null, it is not supported"),
        ("[]", "json array, shape is empty"),
        ("[[]]", "json array, data type is unknown"),
        ("[[],[]]", "json array, data type is unknown"),
        # Ragged.
        ("[[1,2],[3]]", ragged(1, 1, 2)),
        ("[[1.0,2.0],[3.0]]", ragged(1, 1, 2)),
        ("[[1],[2,3]]", ragged(2, 1, 1)),
        ("[[1,2],[]]", ragged(0, 1, 2)),
        ("[[[1,2],[3,4]],[[5,6]]]", ragged(1, 1, 2)),
        ("[[[1,2]],[[3]]]", ragged(1, 2, 2)),
        ("[[[1,2],[3]]]", ragged(1, 2, 2)),
        ("[[true,false],[true]]", ragged(1, 1, 2)),
        ("[[1,2],3]", NOT_ARRAY),
        ("[[[1]],[2]]", NOT_ARRAY),
        ('[[1],"a"]', NOT_ARRAY),
        ("[[1],null]", NOT_ARRAY),
        ("[1,[2]]", NOT_SCALAR),
        ("[1,[]]", NOT_SCALAR),
        ("[[1,[2]]]", NOT_SCALAR),
        # Mixed.
        ("[1.5,2]", NOT_EQUAL),
        ("[1,2.5]", NOT_EQUAL),
        ("[1,true]", NOT_EQUAL),
        ("[true,1]", NOT_EQUAL),
        ("[1.5,true]", NOT_EQUAL),
        ("[false,1.5]", NOT_EQUAL),
        ('[1,"a"]', NOT_EQUAL),
        ('[1.5,"a"]', NOT_EQUAL),
        ('[true,"a"]', NOT_EQUAL),
        ("[[1,2],[3,4.5]]", NOT_EQUAL),
        ("[[1,2],[3.5,4.5]]", NOT_EQUAL),
        ("[[1.5],[true]]", NOT_EQUAL),
        ('[1,{"b64":"YWJj"}]', NOT_EQUAL),
        # Integers.
        ("2147483648", RANGE),
        ("-2147483649", RANGE),
        ("3000000000", RANGE),
        ("9223372036854775807", RANGE),
        ("18446744073709551615", RANGE),
        ("18446744073709551616", RANGE),
        ("[1,3000000000]", RANGE),
        ("[[1,2],[3,-3000000000]]", RANGE),
        # Texts.
        ('["a","b"]', ONE_TEXT),
        ('[["a"],["b"]]', ONE_TEXT),
        ('[{"b64":"YQ=="},{"b64":"YQ=="}]', ONE_TEXT),
        (
            '[{"b64":"AACAPw==","type":"fp32"}]',
            "json array, item is object type, object only support string or bytes type",
        ),
        # Objects.
        (
            '{"b64":"","type":"int32","shape":[0],"x":1}',
            "json object, items size is more than 3, only support specified ['b64', 'type', 'shape']",
        ),
        ('{"foo":1}', ONLY_B64 + "foo"),
        ('{"b64":"YWJj","foo":1}', ONLY_B64 + "foo"),
        ('{"b64":"YWJj","Type":"str"}', ONLY_B64 + "Type"),
        ('{"type":"int32"}', "json object, 'b64' should be specified only one time"),
        ('{"type":"int32","shape":[1]}', "json object, 'b64' should be specified only one time"),
        ('{"b64":"YWJj","type":1}', "json object, key is 'type', value should be string type"),
        ('{"b64":"YWJj","type":null}', "json object, key is 'type', value should be string type"),
        ('{"b64":"YWJj","type":["str"]}', "json object, key is 'type', value should be string type"),
        ('{"b64":"YWJj","type":"zz"}', "json object, specified type:'zz' is illegal"),
        ('{"b64":"YWJj","type":""}', "json object, specified type:'' is illegal"),
        ('{"b64":"YWJj","type":"FP32"}', "json object, specified type:'FP32' is illegal"),
        ('{"b64":"AQ==","type":"int8","shape":1}', "json object, key is 'shape', value should be array type"),
        (
            '{"b64":"AQ==","type":"int8","shape":"1"}',
            "json object, key is 'shape', value should be array type",
        ),
        (
            '{"b64":"AQ==","type":"int8","shape":null}',
            "json object, key is 'shape', value should be array type",
        ),
        (
            '{"b64":"AQ==","type":"int8","shape":{}}',
            "json object, key is 'shape', value should be array type",
        ),
        ('{"b64":"AQ==","type":"int8","shape":[-1]}', UNSIGNED),
        ('{"b64":"AQ==","type":"int8","shape":[1.0]}', UNSIGNED),
        ('{"b64":"AQ==","type":"int8","shape":["1"]}', UNSIGNED),
        ('{"b64":"AQ==","type":"int8","shape":[[1]]}', UNSIGNED),
        ('{"b64":"AQ==","type":"int8","shape":[null]}', UNSIGNED),
        ('{"b64":"AQ==","type":"int8","shape":[true]}', UNSIGNED),
        ('{"b64":"","type":"int8","shape":[0,1]}', "json object, key is 'shape', invalid shape value [0,1]"),
        (
            '{"b64":"","type":"int8","shape":[2, 0, 3]}',
            "json object, key is 'shape', invalid shape value [2,0,3]",
        ),
        ('{"b64":"YWJj","type":"str","shape":[2]}', ONLY_SCALAR),
        ('{"b64":"YWJj","type":"bytes","shape":[1,2]}', ONLY_SCALAR),
        ('{"b64":"YWJj","type":"str","shape":[0]}', ONLY_SCALAR),
        ('{"b64":"YWJj","shape":[3]}', ONLY_SCALAR),
        ('{"b64":1}', NOT_STRING),
        ('{"b64":null}', NOT_STRING),
        ('{"b64":["YWJj"]}', NOT_STRING),
        ('{"b64":1,"type":"int8"}', NOT_STRING),
        # Base64.
        ('{"b64":"!!!"}', illegal("!!!")),
        ('{"b64":"YWJ"}', illegal("YWJ")),
        ('{"b64":"Y","type":"int8"}', illegal("Y")),
        ('[{"b64":"YWJ"}]', illegal("YWJ")),
        ('{"b64":"YW!j"}', BAD_BASE64),
        ('{"b64":"!!!!"}', BAD_BASE64),
        ('{"b64":"Y==="}', BAD_BASE64),
        ('{"b64":"===="}', BAD_BASE64),
        ('{"b64":"YW=j"}', BAD_BASE64),
        ('{"b64":"-_-_"}', BAD_BASE64),
        ('{"b64":"YWJ\\n"}', BAD_BASE64),
        ('{"b64":"YW J"}', BAD_BASE64),
        ('{"b64":"YQ==YQ=="}', BAD_BASE64),
        ('{"b64":"\u00e9\u00e9\u00e9\u00e9","type":"int8"}', BAD_BASE64),
        ('{"b64":"AAA=","type":"fp32","shape":[2,2]}', unmatched(2, "float32", 4, 4)),
        ('{"b64":"AAA=","type":"float32","shape":[2,2]}', unmatched(2, "float32", 4, 4)),
        ('{"b64":"AAAA","type":"fp16"}', unmatched(3, "float16", 2, 1)),
        ('{"b64":"AAAA","type":"fp64","shape":[]}', unmatched(3, "float64", 8, 1)),
        ('{"b64":"AAAA","type":"int8","shape":[2]}', unmatched(3, "int8", 1, 2)),
        ('{"b64":"AAAA","type":"uint64"}', unmatched(3, "uint64", 8, 1)),
        ('{"b64":"AAAA","type":"bool","shape":[2]}', unmatched(3, "bool", 1, 2)),
        ('{"b64":"","type":"int32"}', unmatched(0, "int32", 4, 1)),
        ('{"b64":"AAAA","type":"int16","shape":[3,0]}', unmatched(3, "int16", 2, 0)),
    ],
)
def test_refused_by_the_parser(server: RunningServer, value: str, text: str) -> None:
    reply = ask(server, IDENTITY, value)
    assert (reply.status, reply.error) == (400, PARSER + text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('[["a"]]', TEXT_SHAPE + "[1, 1]"),
        ('[[["a"]]]', TEXT_SHAPE + "[1, 1, 1]"),
        ('[[{"b64":"YWJj"}]]', TEXT_SHAPE + "[1, 1]"),
        ('{"b64":"YWJj","type":"str","shape":[1,1]}', TEXT_SHAPE + "[1, 1]"),
    ],
)
def test_refused_by_the_check_of_instances(server: RunningServer, value: str, text: str) -> None:
    reply = ask(server, IDENTITY, value)
    assert (reply.status, reply.error) == (400, CHECK + text)


@pytest.mark.parametrize(
    "value",
    [
        "[null]",
        "[1,null]",
        "{}",
        '["a",1]',
        '["a",["b"]]',
        '[{"foo":1}]',
        '[{"b64":1}]',
        '{"b64":"/w==","type":"str"}',
        '{"b64":"AQ==","type":"int8","shape":[18446744073709551616]}',
        '{"b64":"AQ==","type":"int8","shape":[4294967296,4294967296]}',
        '{"b64":"","type":"int8","shape":[4294967296,4294967296]}',
    ],
)
def test_refused_somehow(server: RunningServer, value: str) -> None:
    reply = ask(server, IDENTITY, value)
    assert reply.status in (400, 500)
    assert reply.error


@pytest.mark.parametrize("value", ["1e39", "1e400", "-1e400", "[1e400]", "1e-400"])
def test_floats_out_of_range_are_answered(server: RunningServer, value: str) -> None:
    reply = ask(server, IDENTITY, value)
    assert reply.status in (200, 400)
    json.loads(reply.text)


@pytest.mark.parametrize("bad", ["[1,2.5]", "null", "[]", '{"b64":"YWJ"}'])
def test_one_bad_value_refuses_the_whole_request(server: RunningServer, bad: str) -> None:
    single = ask(server, IDENTITY, bad)
    reply = post(server.rest, IDENTITY, '{"instances":[{"x":1},{"x":' + bad + '},{"x":2}]}')
    assert (reply.status, reply.text) == (400, single.text)
