"""What MindSpore Serving 2.0.2 was seen to answer, request by request: ours is the same text, or a departure.

The models of the stub differ from those of the original in one thing: one instance of the batch model is a row of 2
values here, and was an array of 2 by 2 there.
"""

from __future__ import annotations

import json
import re
from typing import Any

import grpc
import numpy as np
import pytest

from mindspore_serving.client import Client
from mindspore_serving.proto import ms_service_pb2 as pb
from tests.conformance.departures import OURS, without_advice
from tests.conformance.row import row, stands_for
from tests.support.grpc_messages import (
    PREDICT,
    RawClient,
    errors,
    instance,
    raw_tensor,
    request,
    tensor,
    text_tensor,
)
from tests.support.http_requests import post, send
from tests.support.serving import RunningServer, free_port

MEBIBYTE = 1 << 20
SQUARE = np.array([[1, 2], [3, 4]], np.float32)
WIDE = np.ones((3, 2), np.float32)
ROW = SQUARE[0]
GOOD = {"x1": SQUARE, "x2": SQUARE}
GOOD_ROW = {"x1": ROW, "x2": ROW}
INTS = {"x1": SQUARE.astype(np.int32), "x2": SQUARE}
DOUBLED = "{'y': array([[2., 4.],\n       [6., 8.]], dtype=float32)}"
SAME = "{'y': array([[1., 2.],\n       [3., 4.]], dtype=float32)}"
DTYPE = "Given model input 0 data type kMSI_Int32 not match the data type kMSI_Float32 defined in model"


def sizes(got: int, defined: int = 16) -> str:
    return f"Given model input 0 size {got} not match the size {defined} defined in model"


def stage(function: str, method: str, text: str) -> str:
    return (
        f"Call Function 'pystage.{function}' Failed, method: '{method}', stage index(begin with 1): 1, "
        f"error msg: {text}"
    )


BOOM = stage("raise_fun", "raises", "boom from stage")
NEGATIVE = stage("partial_fun", "partial", "negative input")
NEGATIVE_IN_BATCH = stage("partial_batch_fun", "partial_b", "negative input in batch")
BAD_COUNT = stage(
    "badcount_fun",
    "badcount",
    "The outputs number 2 of one instance returned by function 'pystage.badcount_fun' is not equal to the outputs "
    "number 1  registered in method badcount",
)


def alone(text: str) -> str:
    """How the Client shows one error for all."""
    return repr({"error": text})


@pytest.mark.parametrize(
    ("method", "instances", "expected"),
    [
        row(
            "observed-client-unknown-servable",
            "nosuch:add_common",
            GOOD,
            alone("Request servable(nosuch) method(add_common) , servable is not available"),
        ),
        row(
            "observed-client-unknown-method",
            "add:nosuch",
            GOOD,
            alone("Request servable(add) method(nosuch) , method is not available"),
        ),
        row(
            "observed-client-unknown-version",
            "add:add_common:7",
            GOOD,
            alone("Request servable(add) method(add_common)  version(7) , servable is not available"),
        ),
        row(
            "observed-client-missing-input",
            "add:add_common",
            {"x1": SQUARE},
            alone("Cannot find input x2 in instance input , servable add, method add_common"),
        ),
        row("observed-client-extra-input", "add:add_common", {**GOOD, "x3": SQUARE}, f"[{DOUBLED}]"),
        row(
            "observed-client-wrong-input-name",
            "add:add_common",
            {"a": SQUARE, "x2": SQUARE},
            alone("Cannot find input x1 in instance input , servable add, method add_common"),
        ),
        row("observed-client-wrong-dtype-int32", "add:add_common", INTS, alone(DTYPE)),
        row(
            "observed-client-wrong-dtype-float64",
            "add:add_common",
            {"x1": SQUARE.astype(np.float64), "x2": SQUARE},
            alone(sizes(32)),
        ),
        row("observed-client-wrong-shape", "add:add_common", {**GOOD, "x1": WIDE}, alone(sizes(24))),
        row(
            "observed-client-wrong-shape-same-bytes",
            "add:add_common",
            {"x1": SQUARE.reshape(4), "x2": np.ones(4, np.float32)},
            "[{'y': array([[2., 3.],\n       [4., 5.]], dtype=float32)}]",
        ),
        row(
            "observed-client-batch-model-wrong-shape",
            "batch_add:add_common",
            {**GOOD_ROW, "x1": WIDE},
            alone(sizes(24, 8)),
        ),
        row(
            "observed-client-batch-model-1-of-3-wrong-shape",
            "batch_add:add_common",
            [GOOD_ROW, {**GOOD_ROW, "x1": WIDE}, GOOD_ROW],
            f"[{{'y': array([2., 4.], dtype=float32)}}, {alone(sizes(24, 8))}, "
            "{'y': array([2., 4.], dtype=float32)}]",
        ),
        row(
            "observed-client-model-without-batch-1-of-3-wrong-dtype",
            "add:add_common",
            [GOOD, INTS, GOOD],
            f"[{DOUBLED}, {alone(DTYPE)}, {DOUBLED}]",
        ),
        row("observed-client-str-input", "add:add_common", {"x1": "abc", "x2": SQUARE}, alone(sizes(0))),
        row("observed-client-stage-raises", "pystage:raises", {"x": SQUARE}, alone(BOOM)),
        row("observed-client-stage-raises-3-instances", "pystage:raises", [{"x": SQUARE}] * 3, alone(BOOM)),
        row(
            "observed-client-single-stage-2nd-of-3-raises",
            "pystage:partial",
            [{"x": SQUARE}, {"x": -SQUARE}, {"x": SQUARE}],
            f"[{SAME}, {alone(NEGATIVE)}, {SAME}]",
        ),
        row(
            "observed-client-batch-stage-2nd-of-3-raises",
            "pystage:partial_b",
            [{"x": SQUARE}, {"x": -SQUARE}, {"x": SQUARE}],
            f"[{SAME}, {alone(NEGATIVE_IN_BATCH)}, {SAME}]",
        ),
        row("observed-client-stage-returns-2-values", "pystage:badcount", {"x": SQUARE}, alone(BAD_COUNT)),
        row(
            "observed-client-empty-instances-list",
            "add:add_common",
            [],
            OURS["observed-client-empty-instances-list"],
        ),
        row("observed-client-afterwards", "add:add_common", GOOD, f"[{DOUBLED}]"),
    ],
)
def test_client(server: RunningServer, method: str, instances: Any, expected: str) -> None:
    servable, name, version = [*method.split(":"), "0"][:3]
    with Client(server.grpc, servable, name, int(version)) as client:
        assert repr(without_advice(client.infer(instances))) == expected


@pytest.mark.parametrize(
    "instances", [row("observed-client-instance-no-dict", [1]), row("observed-client-instance-no-dict-1", 1)]
)
def test_client_raises(server: RunningServer, instances: Any) -> None:
    with (
        Client(server.grpc, "add", "add_common") as client,
        pytest.raises(RuntimeError, match=r"^instance should be a map$"),
    ):
        client.infer(instances)


@stands_for("observed-client-server-not-there")
def test_client_without_server() -> None:
    """What follows the status is the text of the gRPC library."""
    with Client(f"127.0.0.1:{free_port()}", "add", "add_common") as client:
        assert re.match(r"Grpc Error, \(14, 'unavailable'\), \S", client.infer(GOOD)["error"])


GOOD_MESSAGE = instance(x1=tensor(SQUARE), x2=tensor(SQUARE))
UNAVAILABLE = "Request servable({}) method({}) {}, {} is not available"
CHECK = "Instances input {} check failed, detail: {}"


def with_x1(value: pb.Tensor) -> pb.PredictRequest:
    return request("add", "add_common", [instance(x1=value, x2=tensor(SQUARE))])


def failed(text: str, spec: str, code: int = 2) -> str:
    return f"grpc OK; error_msg=[{(code, text)}]; instances=0; spec={spec!r}"


ADD_SPEC = 'name: "add"\nmethod_name: "add_common"'
SIGNS = [instance(x=tensor(SQUARE)), instance(x=tensor(-SQUARE)), instance(x=tensor(SQUARE))]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        row(
            "observed-raw-ok",
            request("add", "add_common", [GOOD_MESSAGE]),
            f"grpc OK; error_msg=[]; instances=1; spec={ADD_SPEC!r}",
        ),
        row(
            "observed-raw-unknown-servable",
            request("nosuch", "add_common", [GOOD_MESSAGE]),
            failed(
                UNAVAILABLE.format("nosuch", "add_common", "", "servable"),
                'name: "nosuch"\nmethod_name: "add_common"',
            ),
        ),
        row(
            "observed-raw-unknown-method",
            request("add", "nosuch", [GOOD_MESSAGE]),
            failed(UNAVAILABLE.format("add", "nosuch", "", "method"), 'name: "add"\nmethod_name: "nosuch"'),
        ),
        row(
            "observed-raw-unknown-version",
            request("add", "add_common", [GOOD_MESSAGE], 7),
            failed(
                UNAVAILABLE.format("add", "add_common", " version(7) ", "servable"),
                ADD_SPEC + "\nversion_number: 7",
            ),
        ),
        row("observed-raw-no-instances", request("add", "add_common", []), OURS["observed-raw-no-instances"]),
        row(
            "observed-raw-empty-servable-name",
            request("", "add_common", [GOOD_MESSAGE]),
            failed(UNAVAILABLE.format("", "add_common", "", "servable"), 'method_name: "add_common"'),
        ),
        row(
            "observed-raw-empty-method",
            request("add", "", [GOOD_MESSAGE]),
            failed(UNAVAILABLE.format("add", "", "", "method"), 'name: "add"'),
        ),
        row(
            "observed-raw-data-size",
            with_x1(raw_tensor(pb.MS_FLOAT32, [2, 2], b"1234567")),
            failed(CHECK.format("x1", "Tensor check failed: input data size 7 invalid"), ADD_SPEC),
        ),
        row(
            "observed-raw-negative-dim",
            with_x1(raw_tensor(pb.MS_FLOAT32, [-2, 2], SQUARE.tobytes())),
            failed(CHECK.format("x1", "Tensor check failed: input  shape [-2, 2] invalid"), ADD_SPEC),
        ),
        row(
            "observed-raw-dtype-unknown",
            with_x1(raw_tensor(pb.MS_UNKNOWN, [2, 2], SQUARE.tobytes())),
            failed(
                CHECK.format("x1", "Tensor check failed: input data type proto::MS_UNKNOWN invalid"), ADD_SPEC
            ),
        ),
        row(
            "observed-raw-dtype-99",
            with_x1(raw_tensor(99, [2, 2], SQUARE.tobytes())),
            failed(
                CHECK.format("x1", "Tensor check failed: input data type proto::MS_UNKNOWN invalid"), ADD_SPEC
            ),
        ),
        row(
            "observed-raw-bytes-with-2-values",
            request("pystage", "identity", [instance(x=text_tensor(b"a", b"b", dtype=pb.MS_BYTES))]),
            failed(
                CHECK.format(
                    "x",
                    "Instance tensor check failed: bytes or string type shape batch size can only be 1",
                ),
                'name: "pystage"\nmethod_name: "identity"',
            ),
        ),
        row(
            "observed-raw-missing-input",
            request("add", "add_common", [instance(x1=tensor(SQUARE))]),
            failed("Cannot find input x2 in instance input , servable add, method add_common", ADD_SPEC),
        ),
        row(
            "observed-raw-missing-input-3-instances",
            request("add", "add_common", [instance(x1=tensor(SQUARE))] * 3),
            failed("Cannot find input x2 in instance input , servable add, method add_common", ADD_SPEC),
        ),
        row(
            "observed-raw-stage-raises-3-instances",
            request("pystage", "raises", SIGNS),
            failed(BOOM, 'name: "pystage"\nmethod_name: "raises"', 3),
        ),
        row(
            "observed-raw-single-stage-2nd-of-3-raises",
            request("pystage", "partial", SIGNS),
            f"grpc OK; error_msg={[(0, ''), (3, NEGATIVE), (0, '')]}; instances=3; "
            'spec=\'name: "pystage"\\nmethod_name: "partial"\'',
        ),
        row(
            "observed-raw-batch-stage-2nd-of-3-raises",
            request("pystage", "partial_b", SIGNS),
            f"grpc OK; error_msg={[(0, ''), (3, NEGATIVE_IN_BATCH), (0, '')]}; instances=3; "
            'spec=\'name: "pystage"\\nmethod_name: "partial_b"\'',
        ),
    ],
)
def test_raw(raw: RawClient, message: pb.PredictRequest, expected: str) -> None:
    reply = raw.predict(message)
    shown = str(reply.servable_spec).strip()
    got = f"grpc OK; error_msg={errors(reply)}; instances={len(reply.instances)}; spec={shown!r}"
    assert got == expected


OVERSIZE = 110 * MEBIBYTE + 55
TOO_LARGE = f"eceived message larger than max ({OVERSIZE} vs. {100 * MEBIBYTE})"


def oversize() -> bytes:
    """A request of 115343415 bytes."""
    x = raw_tensor(pb.MS_UINT8, [110 * MEBIBYTE - 64], bytes(110 * MEBIBYTE - 64))
    message = request("pystage", "identity", [instance(x=x)]).SerializeToString()
    padding = OVERSIZE - len(message) - 3
    return message + bytes([15 << 3 | 2]) + bytes([padding | 0x80, 0]) + bytes(padding)


@pytest.mark.parametrize(
    ("content", "path", "code", "details"),
    [
        row(
            "observed-raw-oversize",
            oversize,
            PREDICT,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            rf"(CLIENT: |SERVER: )?R{re.escape(TOO_LARGE)}",
        ),
        row(
            "observed-raw-unknown-rpc",
            lambda: b"",
            "/mindspore.serving.proto.MSService/Nosuch",
            grpc.StatusCode.UNIMPLEMENTED,
            "(Method not found!)?",
        ),
        row(
            "observed-raw-undecodable",
            lambda: b"\xff\xff\xff",
            PREDICT,
            grpc.StatusCode.INTERNAL,
            "Unable to parse request",
        ),
    ],
)
def test_raw_status(raw: RawClient, content: Any, path: str, code: grpc.StatusCode, details: str) -> None:
    got, text = raw.failure(content(), path)
    assert got is code
    assert re.fullmatch(details, text), text


@stands_for("observed-client-oversize")
def test_client_oversize(server: RunningServer) -> None:
    with Client(server.grpc, "pystage", "identity") as client:
        text = client.infer({"x": np.zeros(110 * MEBIBYTE, np.uint8)})["error"]
    assert re.fullmatch(
        r"Grpc Error, \(8, 'resource exhausted'\), (CLIENT: |SERVER: )?Received message larger than max "
        r"\(1153434\d\d vs\. 104857600\)",
        text,
    ), text


# --- REST ---

X = [[1.0, 2.0], [3.0, 4.0]]
ADD = "/model/add:add_common"
BODY = json.dumps({"instances": [{"x1": X, "x2": X}]})
GOOD_REPLY = '{"instances":[{"y":[[2.0,4.0],[6.0,8.0]]}]}'
SIGNED = json.dumps({"instances": [{"x": X}, {"x": [[-1.0, 0.0], [0.0, 0.0]]}, {"x": X}]})
PARSER = "Parser request failed, "
NO_INSTANCES = PARSER + "key 'instances' expects to exist once, but actually 0 times"
NO_MODEL = "please check url, the keyword:[model] must contain."
NO_METHOD = "please check url, the keyword:[service method] must contain."
POST_ONLY = "http message only support POST right now"


def error(text: str) -> str:
    return json.dumps({"error_msg": text}, separators=(",", ":"), ensure_ascii=False)


def with_value(x1: str) -> str:
    return '{"instances":[{"x1":' + x1 + ',"x2":[[1.0,2.0],[3.0,4.0]]}]}'


def partly(good: str, text: str) -> str:
    return '{"instances":[{"y":' + good + "}," + error(text) + ',{"y":' + good + "}]}"


@pytest.mark.parametrize(
    ("path", "body", "status", "expected"),
    [
        row(
            "observed-rest-unknown-servable",
            "/model/nosuch:add_common",
            BODY,
            404,
            error("Request servable(nosuch) method(add_common) , servable is not available"),
        ),
        row(
            "observed-rest-unknown-method",
            "/model/add:nosuch",
            BODY,
            404,
            error("Request servable(add) method(nosuch) , method is not available"),
        ),
        row(
            "observed-rest-unknown-version",
            "/model/add/version/7:add_common",
            BODY,
            404,
            error("Request servable(add) method(add_common)  version(7) , servable is not available"),
        ),
        row("observed-rest-version-0", "/model/add/version/0:add_common", BODY, 200, GOOD_REPLY),
        row(
            "observed-rest-version-abc",
            "/model/add/version/abc:add_common",
            BODY,
            400,
            error("please check url, the keyword:[version] value invalid, request version number abc"),
        ),
        row(
            "observed-rest-version-negative",
            "/model/add/version/-1:add_common",
            BODY,
            400,
            error("please check url, version number range failed, request version number -1"),
        ),
        row(
            "observed-rest-missing-input",
            ADD,
            '{"instances":[{"x1":[[1.0]]}]}',
            400,
            error("Cannot find input x2 in instance input , servable add, method add_common"),
        ),
        row("observed-rest-extra-input", ADD, BODY.replace("}]", ', "x3": 1}]'), 200, GOOD_REPLY),
        row(
            "observed-rest-wrong-dtype",
            ADD,
            with_value("[[1,1],[1,1]]"),
            200,
            OURS["observed-rest-wrong-dtype"],
        ),
        row(
            "observed-rest-wrong-shape",
            ADD,
            with_value("[[1.0,1.0],[1.0,1.0],[1.0,1.0]]"),
            400,
            error(sizes(24)),
        ),
        row(
            "observed-rest-ragged",
            ADD,
            with_value("[[1.0,2.0],[3.0]]"),
            400,
            error(PARSER + "invalid json array: json size is 1, the dim 1 expected to be 2"),
        ),
        row(
            "observed-rest-mixed",
            ADD,
            with_value("[[1.0,2],[3.0,4.0]]"),
            200,
            OURS["observed-rest-mixed"],
        ),
        row("observed-rest-string-where-tensor", ADD, with_value('"abc"'), 400, error(sizes(0))),
        row(
            "observed-rest-null",
            ADD,
            with_value("null"),
            400,
            error(PARSER + "json value is null, it is not supported"),
        ),
        row(
            "observed-rest-empty-array",
            ADD,
            with_value("[]"),
            400,
            error(PARSER + "json array, shape is empty"),
        ),
        row("observed-rest-empty-body", ADD, "", 400, error("http message invalid")),
        row("observed-rest-array-body", ADD, "[1]", 400, error(NO_INSTANCES)),
        row("observed-rest-number-body", ADD, "1", 400, error(NO_INSTANCES)),
        row("observed-rest-no-instances-key", ADD, '{"a":1}', 400, error(NO_INSTANCES)),
        row(
            "observed-rest-instances-empty-list",
            ADD,
            '{"instances":[]}',
            400,
            error(PARSER + "instances value is array type, but no value"),
        ),
        row(
            "observed-rest-instances-number",
            ADD,
            '{"instances":1}',
            400,
            error(PARSER + "instances no key mode is not supported"),
        ),
        row(
            "observed-rest-instances-list-of-number",
            ADD,
            '{"instances":[1]}',
            400,
            error(PARSER + "instances no key mode is not supported"),
        ),
        row(
            "observed-rest-instances-empty-dict",
            ADD,
            '{"instances":[{}]}',
            400,
            error(PARSER + "json array, instance is object type, but no value"),
        ),
        row("observed-rest-extra-top-level-key", ADD, BODY[:-1] + ',"foo":1}', 200, GOOD_REPLY),
        row(
            "observed-rest-bad-base64",
            ADD,
            with_value('{"b64":"!!!"}'),
            400,
            error(PARSER + "'!!!' is illegal b64 encode string"),
        ),
        row(
            "observed-rest-b64-wrong-size",
            ADD,
            with_value('{"b64":"AAA=","type":"fp32","shape":[2,2]}'),
            400,
            error(
                PARSER + "size is not matched, decode base64 size:2; Given info: type:float32; type size:4; "
                "element nums:4"
            ),
        ),
        row(
            "observed-rest-b64-unknown-type",
            ADD,
            with_value('{"b64":"AAA=","type":"zz"}'),
            400,
            error(PARSER + "json object, specified type:'zz' is illegal"),
        ),
        row(
            "observed-rest-object-without-b64",
            ADD,
            with_value('{"foo":1}'),
            400,
            error(PARSER + "json object, key is not ['b64', 'type', 'shape'], fail key:foo"),
        ),
        row(
            "observed-rest-stage-raises",
            "/model/pystage:raises",
            '{"instances":[{"x":1.0}]}',
            500,
            error(BOOM),
        ),
        row(
            "observed-rest-stage-raises-3-instances",
            "/model/pystage:raises",
            '{"instances":[{"x":1.0},{"x":2.0},{"x":3.0}]}',
            500,
            error(BOOM),
        ),
        row(
            "observed-rest-single-stage-2nd-of-3-raises",
            "/model/pystage:partial",
            SIGNED,
            200,
            partly("[[1.0,2.0],[3.0,4.0]]", NEGATIVE),
        ),
        row(
            "observed-rest-batch-stage-2nd-of-3-raises",
            "/model/pystage:partial_b",
            SIGNED,
            200,
            partly("[[1.0,2.0],[3.0,4.0]]", NEGATIVE_IN_BATCH),
        ),
        row(
            "observed-rest-1-of-3-wrong-shape",
            "/model/batch_add:add_common",
            '{"instances":[{"x1":[1.0,2.0],"x2":[1.0,2.0]},{"x1":[[1.0,1.0],[1.0,1.0],[1.0,1.0]],"x2":[1.0,2.0]},'
            '{"x1":[1.0,2.0],"x2":[1.0,2.0]}]}',
            200,
            partly("[2.0,4.0]", sizes(24, 8)),
        ),
        row("observed-rest-path-root", "/", BODY, 400, error(NO_MODEL)),
        row("observed-rest-path-model", "/model", BODY, 400, OURS["observed-rest-path-model"]),
        row("observed-rest-path-no-method", "/model/add", BODY, 400, error(NO_METHOD)),
        row("observed-rest-path-empty-method", "/model/add:", BODY, 400, error(NO_METHOD)),
        row("observed-rest-path-empty-servable", "/model/:add_common", BODY, 400, error(NO_MODEL)),
        row(
            "observed-rest-path-versions",
            "/model/add/versions/1:add_common",
            BODY,
            400,
            error("please check url, the keyword:[version] value invalid, request version number "),
        ),
        row("observed-rest-path-nosuch", "/nosuch/add:add_common", BODY, 400, error(NO_MODEL)),
        row("observed-rest-path-version-no-method", "/model/add/version/1", BODY, 400, error(NO_METHOD)),
        row(
            "observed-rest-path-more",
            ADD + "/x",
            BODY,
            404,
            error("Request servable(add) method(add_common/x) , method is not available"),
        ),
        row("observed-rest-path-with-query", ADD + "?a=1", BODY, 200, OURS["observed-rest-path-with-query"]),
        row(
            "observed-rest-oversize",
            ADD,
            BODY.ljust(110_000_000),
            413,
            error("http message is bigger than 104857600"),
        ),
        row("observed-rest-afterwards", ADD, BODY, 200, GOOD_REPLY),
    ],
)
def test_rest(server: RunningServer, path: str, body: str, status: int, expected: str) -> None:
    reply = post(server.rest, path, body)
    assert (reply.status, without_advice(reply.text)) == (status, expected)
    assert reply.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "body",
    [
        row("observed-rest-malformed-json", b'{"instances":[{"x1":'),
        row("observed-rest-invalid-utf-8", b'{"instances":[{"x1":"\xff\xfe"}]}'),
    ],
)
def test_rest_bad_json(server: RunningServer, body: bytes) -> None:
    reply = post(server.rest, ADD, body)
    assert reply.status == 400
    assert reply.error.startswith(OURS["observed-rest-malformed-json"])


@pytest.mark.parametrize(
    ("verb", "expected"),
    [
        row("observed-rest-put", "PUT", error(POST_ONLY)),
        row("observed-rest-delete", "DELETE", error(POST_ONLY)),
    ],
)
def test_rest_verbs(server: RunningServer, verb: str, expected: str) -> None:
    reply = send(server.rest, verb, ADD, BODY)
    assert (reply.status, reply.text) == (405, expected)
    assert reply.headers["content-type"] == "application/json"


@stands_for("observed-rest-get", "observed-rest-head")
def test_rest_get_and_head(server: RunningServer) -> None:
    get, head = (send(server.rest, verb, ADD, BODY) for verb in ("GET", "HEAD"))
    assert (get.status, head.status, head.text) == (200, 200, "")
    assert json.loads(get.text)["name"] == "add"


@stands_for("observed-rest-options")
def test_rest_options(server: RunningServer) -> None:
    reply = send(server.rest, "OPTIONS", ADD, BODY)
    assert (reply.status, reply.text) == (200, OURS["observed-rest-options"])
    assert (reply.headers["allow"], reply.headers["content-length"]) == ("POST, GET, HEAD, OPTIONS", "0")


@pytest.mark.parametrize("kind", [row("observed-rest-content-type", "text/plain")])
def test_rest_content_type(server: RunningServer, kind: str) -> None:
    reply = send(server.rest, "POST", ADD, BODY, {"Content-Type": kind})
    assert (reply.status, reply.text) == (200, GOOD_REPLY)


def canonical(text: str) -> Any:
    """The document with its numbers as they count: a whole float is no int, the way of writing is free."""
    tell = {"parse_int": lambda t: ("int", int(t)), "parse_float": lambda t: ("float", repr(float(t)))}
    return json.loads(text, **tell)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        row(
            "observed-value-float",
            '{"instances":[{"x":1.1}]}',
            200,
            '{"instances":[{"y":1.100000023841858}]}',
        ),
        row("observed-value-int", '{"instances":[{"x":1}]}', 200, '{"instances":[{"y":1}]}'),
        row("observed-value-bool", '{"instances":[{"x":true}]}', 200, '{"instances":[{"y":true}]}'),
        row("observed-value-str", '{"instances":[{"x":"abc"}]}', 200, '{"instances":[{"y":"abc"}]}'),
        row("observed-value-str-list", '{"instances":[{"x":["abc"]}]}', 200, '{"instances":[{"y":"abc"}]}'),
        row(
            "observed-value-b64",
            '{"instances":[{"x":{"b64":"YWJj"}}]}',
            200,
            '{"instances":[{"y":[97,98,99]}]}',
        ),
        row(
            "observed-value-b64-list",
            '{"instances":[{"x":[{"b64":"YWJj"}]}]}',
            200,
            '{"instances":[{"y":[97,98,99]}]}',
        ),
        row(
            "observed-value-2d",
            '{"instances":[{"x":[[1,2],[3,4]]}]}',
            200,
            '{"instances":[{"y":[[1,2],[3,4]]}]}',
        ),
        row(
            "observed-value-mixed",
            '{"instances":[{"x":[1.5,2]}]}',
            200,
            OURS["observed-value-mixed"],
        ),
        row(
            "observed-value-bools",
            '{"instances":[{"x":[true,false]}]}',
            200,
            '{"instances":[{"y":[true,false]}]}',
        ),
        row(
            "observed-value-b64-fp32",
            '{"instances":[{"x":{"b64":"AACAPw==","type":"fp32","shape":[1]}}]}',
            200,
            '{"instances":[{"y":[1.0]}]}',
        ),
        row(
            "observed-value-b64-fp16",
            '{"instances":[{"x":{"b64":"ADw=","type":"fp16","shape":[]}}]}',
            200,
            '{"instances":[{"y":1.0}]}',
        ),
        row(
            "observed-value-b64-empty",
            '{"instances":[{"x":{"b64":"","type":"int32","shape":[0]}}]}',
            200,
            '{"instances":[{"y":[]}]}',
        ),
        row(
            "observed-value-number-forms",
            '{"instances":{"x":[[0.1,100000000.0],[1e-7,3.4e38]]}}',
            200,
            '{"instances":[{"y":[[0.10000000149011612,100000000.0],[1.0000000116860974e-07,3.3999999521443642e+38]]}]}',
        ),
        row(
            "observed-value-int-out-of-range",
            '{"instances":[{"x":3000000000}]}',
            400,
            OURS["observed-value-int-out-of-range"],
        ),
        row(
            "observed-value-infinity",
            '{"instances":[{"x":{"b64":"AACAfw==","type":"fp32","shape":[]}}]}',
            200,
            '{"instances":[{"y":null}]}',
        ),
        row("observed-value-extra-key", '{"instances":[{"x":-1}],"foo":1}', 200, '{"instances":[{"y":-1}]}'),
        row(
            "observed-value-unicode",
            '{"instances":[{"x":"h\\u00e9llo \\ud83d\\ude00"}]}',
            200,
            '{"instances":[{"y":"h\u00e9llo \U0001f600"}]}',
        ),
        row(
            "observed-value-empty-lists",
            '{"instances":[{"x":[[],[]]}]}',
            400,
            error(PARSER + "json array, data type is unknown"),
        ),
        row("observed-value-key-twice", '{"instances":[{"x":1, "x":2}]}', 200, '{"instances":[{"y":2}]}'),
        row(
            "observed-value-instances-twice",
            '{"instances":[{"x":1}],"instances":[{"x":2}]}',
            200,
            '{"instances":[{"y":2}]}',
        ),
    ],
)
def test_value_forms(server: RunningServer, body: str, status: int, expected: str) -> None:
    reply = post(server.rest, "/model/pystage:identity", body)
    assert reply.status == status
    assert canonical(reply.text) == canonical(expected)
    if not re.search(r"\de[+-]?\d", expected):
        assert reply.text == expected
