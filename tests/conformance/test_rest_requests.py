"""REST: URLs, envelopes, statuses and sizes, in raw HTTP."""

from __future__ import annotations

import contextlib
import http.client
import inspect
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mindspore_serving.server import start_restful_server
from tests.conformance.departures import without_advice
from tests.conformance.row import row, stands_for
from tests.support import servables
from tests.support.certificates import Authority, Pair
from tests.support.http_requests import (
    ANSWER_TIMEOUT_S,
    HttpReply,
    post,
    raw_connection,
    read_raw_reply,
    read_reply,
    send,
)
from tests.support.serving import RunningServer, add_servable, free_port, running_script, serving

MEGABYTE = 1 << 20
X = [[1.0, 2.0], [3.0, 4.0]]
NEGATIVE_X = [[-1.0, -2.0], [-3.0, -4.0]]
WIDE = [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
INTS = [[1, 1], [1, 1]]
TYPED_INTS = {"b64": "AQAAAAEAAAABAAAAAQAAAA==", "type": "int32", "shape": [2, 2]}
GOOD_BODY = {"instances": [{"x1": X, "x2": X}]}
GOOD_REPLY = '{"instances":[{"y":[[2.0,4.0],[6.0,8.0]]}]}'
ADD = "/model/add:add_common"
ECHO = "/model/pystage:echo"
ECHO_BODY = '{"instances":[{"x":1}]}'
ECHO_REPLY = '{"instances":[{"y":1}]}'

POST_ONLY = "http message only support POST right now"
NO_MODEL = "please check url, the keyword:[model] must contain."
NO_METHOD = "please check url, the keyword:[service method] must contain."
BAD_VERSION = "please check url, the keyword:[version] value invalid, request version number "
VERSION_RANGE = "please check url, version number range failed, request version number "
PARSER = "Parser request failed, "
NO_INSTANCES = PARSER + "key 'instances' expects to exist once, but actually 0 times"
NO_KEY = PARSER + "instances no key mode is not supported"
BOOM = (
    "Call Function 'pystage.raise_fun' Failed, method: 'raises', stage index(begin with 1): 1, "
    "error msg: boom from stage"
)
NEGATIVE = (
    "Call Function 'pystage.partial_fun' Failed, method: 'partial', stage index(begin with 1): 1, "
    "error msg: negative input"
)
NEGATIVE_IN_BATCH = (
    "Call Function 'pystage.partial_batch_fun' Failed, method: 'partial_b', stage index(begin with 1): 1, "
    "error msg: negative input in batch"
)
BAD_COUNT = (
    "Call Function 'pystage.badcount_fun' Failed, method: 'badcount', stage index(begin with 1): 1, error msg: "
    "The outputs number 2 of one instance returned by function 'pystage.badcount_fun' is not equal to the outputs "
    "number 1  registered in method badcount"
)
ADD_WIDE = "Given model input 0 size 24 not match the size 16 defined in model"
BATCH_WIDE = "Given model input 0 size 24 not match the size 8 defined in model"


def add_body(*instances: Any) -> dict[str, Any]:
    return {"instances": list(instances)}


def check(reply: HttpReply, status: int, body: str) -> None:
    assert (reply.status, without_advice(reply.text)) == (status, body)
    assert reply.headers["content-type"] == "application/json"
    assert int(reply.headers["content-length"]) == len(reply.body)


def check_error(reply: HttpReply, status: int, text: str) -> None:
    assert (reply.status, without_advice(reply.error)) == (status, text)
    assert reply.headers["content-type"] == "application/json"


@pytest.fixture(autouse=True)
def still_serving(server: RunningServer) -> Iterator[None]:
    """After every test a good request gets its answer."""
    yield
    check(post(server.rest, ADD, GOOD_BODY), 200, GOOD_REPLY)


# --- What it says yes to ---


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        row("7.3-success", ADD, GOOD_BODY, GOOD_REPLY),
        row("7.1-one-object", ADD, {"instances": {"x1": X, "x2": X}}, GOOD_REPLY),
        row("7.1-other-keys", ADD, {**GOOD_BODY, "foo": [1, {"a": None}]}, GOOD_REPLY),
        row("6.3-extra-input-rest", ADD, add_body({"x1": X, "x2": X, "x3": X}), GOOD_REPLY),
        row("6.3-extra-input-rest", ADD, add_body({"x1": X, "x2": X, "x3": "text"}), GOOD_REPLY),
        row("7.1-url-version-0", "/model/add/version/0:add_common", GOOD_BODY, GOOD_REPLY),
        row("7.1-url-version", "/model/add/version/1:add_common", GOOD_BODY, GOOD_REPLY),
        row("7.1-url-version-first", "/version/1/model/add:add_common", GOOD_BODY, GOOD_REPLY),
        row("7.1-url-version-first-0", "/version/0/model/add:add_common", GOOD_BODY, GOOD_REPLY),
        row("7.1-query", ADD + "?a=1", GOOD_BODY, GOOD_REPLY),
        row("7.1-query", ADD + "?a=1:b/c&version/9", GOOD_BODY, GOOD_REPLY),
        row("7.1-percent", "/%6dodel/%61dd:add%5Fcommon", GOOD_BODY, GOOD_REPLY),
        row("7.1-percent-version", "/model/add/version/%31:add_common", GOOD_BODY, GOOD_REPLY),
        row(
            "7.2-int-array",
            "/model/add:add_cast",
            add_body({"x1": INTS, "x2": INTS}),
            GOOD_REPLY.translate({52: 50, 54: 50, 56: 50}),
        ),
        row("7.1-name-holds-version", "/model/conversion_model:identity", ECHO_BODY, ECHO_REPLY),
        row("7.1-name-holds-version", "/model/conversion_model/version/1:identity", ECHO_BODY, ECHO_REPLY),
        row("7.1-name-holds-version", "/version/1/model/conversion_model:identity", ECHO_BODY, ECHO_REPLY),
        row(
            "7.1-keys-sorted",
            "/model/pystage:three",
            '{"instances":[{"c":3,"b":"two","a":[true]}]}',
            '{"instances":[{"a":[true],"m":3,"z":"two"}]}',
        ),
        row(
            "7.1-keys-sorted",
            "/model/pystage:three",
            '{"instances": [{"c": 3, "b": 2, "a": 1}, {"a": 4, "b": 5, "c": 6}]}',
            '{"instances":[{"a":1,"m":3,"z":2},{"a":4,"m":6,"z":5}]}',
        ),
    ],
)
def test_success(server: RunningServer, path: str, body: Any, expected: str) -> None:
    check(post(server.rest, path, body), 200, expected)


@pytest.mark.parametrize(
    "kind",
    [
        row("7.1-content-type", "text/plain"),
        row("7.1-content-type", "application/json"),
        row("7.1-content-type", "application/octet-stream"),
        row("7.1-content-type", ""),
        row("7.1-content-type", "nonsense"),
    ],
)
def test_content_type_of_a_request_is_not_looked_at(server: RunningServer, kind: str) -> None:
    reply = send(server.rest, "POST", ADD, GOOD_BODY, {"Content-Type": kind})
    check(reply, 200, GOOD_REPLY)


@pytest.mark.parametrize(
    ("path", "good", "bad", "text"),
    [
        row("7.3-mixed-function", "/model/pystage:partial", {"x": X}, {"x": NEGATIVE_X}, NEGATIVE),
        row(
            "7.3-mixed-batch-function",
            "/model/pystage:partial_b",
            {"x": X},
            {"x": NEGATIVE_X},
            NEGATIVE_IN_BATCH,
        ),
        row(
            "7.3-mixed-batch-model",
            "/model/batch_add:add_common",
            {"x1": [1.0, 2.0], "x2": [0.0, 0.0]},
            {"x1": WIDE, "x2": X},
            BATCH_WIDE,
        ),
        row(
            "7.3-mixed-model", ADD, {"x1": X, "x2": [[0.0, 0.0], [0.0, 0.0]]}, {"x1": WIDE, "x2": X}, ADD_WIDE
        ),
    ],
)
@pytest.mark.parametrize("order", ["gbg", "bgg", "bgb"])
def test_partial_failure_has_status_200(
    server: RunningServer, path: str, good: Any, bad: Any, text: str, order: str
) -> None:
    body = {"instances": [good if kind == "g" else bad for kind in order]}
    result = {"y": good.get("x") or good["x1"]}
    expected = [result if kind == "g" else {"error_msg": text} for kind in order]
    reply = post(server.rest, path, body)
    check(reply, 200, json.dumps({"instances": expected}, separators=(",", ":")))


# --- What it says no to ---


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        row(
            "7.1-status-404-servable",
            "/model/nosuch:add_common",
            GOOD_BODY,
            404,
            "Request servable(nosuch) method(add_common) , servable is not available",
        ),
        row(
            "7.1-status-404-method",
            "/model/add:nosuch",
            GOOD_BODY,
            404,
            "Request servable(add) method(nosuch) , method is not available",
        ),
        row(
            "7.1-status-404-version",
            "/model/add/version/7:add_common",
            GOOD_BODY,
            404,
            "Request servable(add) method(add_common)  version(7) , servable is not available",
        ),
        row(
            "7.1-version-range-largest",
            "/model/add/version/4294967294:add_common",
            GOOD_BODY,
            404,
            "Request servable(add) method(add_common)  version(4294967294) , servable is not available",
        ),
        row(
            "7.1-status-404-method-of-version",
            "/model/add/version/1:nosuch",
            GOOD_BODY,
            404,
            "Request servable(add) method(nosuch)  version(1) , method is not available",
        ),
        row(
            "7.1-path-more",
            ADD + "/x",
            GOOD_BODY,
            404,
            "Request servable(add) method(add_common/x) , method is not available",
        ),
        row(
            "7.1-percent-utf8",
            "/model/%E2%82%AC:add_common",
            GOOD_BODY,
            404,
            "Request servable(\u20ac) method(add_common) , servable is not available",
        ),
        row("7.1-version-value", "/model/add/version/abc:add_common", GOOD_BODY, 400, BAD_VERSION + "abc"),
        row("7.1-version-value", "/version/abc/model/add:add_common", GOOD_BODY, 400, BAD_VERSION + "abc"),
        row("7.1-version-value", "/model/add/version/1x:add_common", GOOD_BODY, 400, BAD_VERSION + "1x"),
        row("7.1-version-value", "/model/add/version/1.5:add_common", GOOD_BODY, 400, BAD_VERSION + "1.5"),
        row("7.1-version-value", "/model/add/version/:add_common", GOOD_BODY, 400, BAD_VERSION),
        row("7.1-version-value", "/model/add/versions/1:add_common", GOOD_BODY, 400, BAD_VERSION),
        row("7.1-version-range", "/model/add/version/-1:add_common", GOOD_BODY, 400, VERSION_RANGE + "-1"),
        row(
            "7.1-version-range",
            "/model/add/version/4294967295:add_common",
            GOOD_BODY,
            400,
            VERSION_RANGE + "4294967295",
        ),
        row(
            "7.1-version-range",
            "/model/add/version/4294967296:add_common",
            GOOD_BODY,
            400,
            VERSION_RANGE + "4294967296",
        ),
        row(
            "7.1-version-range",
            f"/model/add/version/{10**30}:add_common",
            GOOD_BODY,
            400,
            f"{VERSION_RANGE}{10**30}",
        ),
        row("7.1-no-model", "/", GOOD_BODY, 400, NO_MODEL),
        row("7.1-no-model", "/model/:add_common", GOOD_BODY, 400, NO_MODEL),
        row("7.1-no-model", "/nosuch/add:add_common", GOOD_BODY, 400, NO_MODEL),
        row("7.1-no-model", "/:add_common", GOOD_BODY, 400, NO_MODEL),
        row("7.1-no-model", "/version/1:add_common", GOOD_BODY, 400, NO_MODEL),
        row("7.1-no-method", "/model/add", GOOD_BODY, 400, NO_METHOD),
        row("7.1-no-method", "/model/add:", GOOD_BODY, 400, NO_METHOD),
        row("7.1-no-method", "/model/add/version/1", GOOD_BODY, 400, NO_METHOD),
        row("7.1-no-method", "/model/add/version/1:", GOOD_BODY, 400, NO_METHOD),
        row(
            "6.3-missing-input-rest",
            ADD,
            add_body({"x1": X}),
            400,
            "Cannot find input x2 in instance input , servable add, method add_common",
        ),
        row(
            "6.3-missing-input-rest",
            ADD,
            add_body({"x1": X, "x2": X}, {"x2": X}),
            400,
            "Cannot find input x1 in instance input , servable add, method add_common",
        ),
        row(
            "5.4-dtype-rest",
            ADD,
            add_body({"x1": TYPED_INTS, "x2": X}),
            400,
            "Given model input 0 data type kMSI_Int32 not match the data type kMSI_Float32 defined in model",
        ),
        row("5.4-byte-size-rest", ADD, add_body({"x1": WIDE, "x2": X}), 400, ADD_WIDE),
        row("5.4-byte-size-rest", ADD, add_body({"x1": WIDE, "x2": X}, {"x1": WIDE, "x2": X}), 400, ADD_WIDE),
        row(
            "5.4-byte-size-rest",
            ADD,
            add_body({"x1": "abc", "x2": X}),
            400,
            "Given model input 0 size 0 not match the size 16 defined in model",
        ),
        row("7.3-request-level", "/model/pystage:raises", add_body({"x": X}), 500, BOOM),
        row("7.3-all-same", "/model/pystage:raises", add_body({"x": X}, {"x": X}, {"x": X}), 500, BOOM),
        row("5.3-outputs-number-rest", "/model/pystage:badcount", add_body({"x": X}), 500, BAD_COUNT),
        # Bodies.
        row("7.1-empty-body", ADD, "", 400, "http message invalid"),
        row("7.1-no-instances", ADD, "[]", 400, NO_INSTANCES),
        row("7.1-no-instances", ADD, "[1]", 400, NO_INSTANCES),
        row("7.1-no-instances", ADD, "3", 400, NO_INSTANCES),
        row("7.1-no-instances", ADD, "null", 400, NO_INSTANCES),
        row("7.1-no-instances", ADD, '"instances"', 400, NO_INSTANCES),
        row("7.1-no-instances", ADD, "{}", 400, NO_INSTANCES),
        row("7.1-no-instances", ADD, '{"instance":[]}', 400, NO_INSTANCES),
        row(
            "7.1-instances-empty",
            ADD,
            '{"instances":[]}',
            400,
            PARSER + "instances value is array type, but no value",
        ),
        row("7.1-instances-no-key", ADD, '{"instances":1}', 400, NO_KEY),
        row("7.1-instances-no-key", ADD, '{"instances":"a"}', 400, NO_KEY),
        row("7.1-instances-no-key", ADD, '{"instances":null}', 400, NO_KEY),
        row("7.1-instances-no-key", ADD, '{"instances":true}', 400, NO_KEY),
        row("7.1-instances-no-key", ADD, '{"instances":[1]}', 400, NO_KEY),
        row("7.1-instances-no-key", ADD, '{"instances":[[1,2]]}', 400, NO_KEY),
        row("7.1-instances-no-key", ADD, '{"instances":[null]}', 400, NO_KEY),
        row("7.1-instances-no-key", ADD, '{"instances":[1,{"x1":1}]}', 400, NO_KEY),
        row(
            "7.1-instances-empty-object", ADD, '{"instances":{}}', 400, PARSER + "json object, value is empty"
        ),
        row(
            "7.1-later-item",
            ADD,
            '{"instances":[{"x1":1},1]}',
            400,
            PARSER + "json array, instance is not object type",
        ),
        row(
            "7.1-first-item-empty",
            ADD,
            '{"instances":[{}]}',
            400,
            PARSER + "json array, instance is object type, but no value",
        ),
        row(
            "7.1-later-item-empty",
            ADD,
            '{"instances":[{"x1":1},{}]}',
            400,
            PARSER + "json array, instance is object type, but no value",
        ),
        row("7.1-empty-key", ADD, '{"instances":[{"":1}]}', 400, PARSER + "string key is empty"),
        row("7.1-empty-key", ADD, '{"instances":{"":1}}', 400, PARSER + "string key is empty"),
    ],
)
def test_failure(server: RunningServer, path: str, body: Any, status: int, text: str) -> None:
    check_error(post(server.rest, path, body), status, text)


@pytest.mark.parametrize(
    "path",
    [
        row("7.1-half-a-url", "/model"),
        row("7.1-half-a-url", "/model/"),
        row("7.1-half-a-url", "/model:add_common"),
        row("7.1-half-a-url", "/version"),
        row("7.1-half-a-url", "//"),
        row("7.1-half-a-url", "/:"),
        row("7.1-half-a-url", "/model//:"),
    ],
)
def test_half_a_url_is_answered(server: RunningServer, path: str) -> None:
    reply = post(server.rest, path, GOOD_BODY)
    assert reply.status == 400
    assert reply.error in (NO_MODEL, NO_METHOD, BAD_VERSION)


@pytest.mark.parametrize(
    "body",
    [
        row("7.1-json-syntax", "{"),
        row("7.1-json-syntax", '{"instances":[{"x1":'),
        row("7.1-json-syntax", '{"instances":[{"x1":1}]} x'),
        row("7.1-json-syntax", '{"instances":[{"x1":1}]}{}'),
        row("7.1-json-syntax", '{"instances":[{"x1":1},]}'),
        row("7.1-json-syntax", "{'instances':1}"),
        row("7.1-json-syntax", '{"instances":[{"x1":NaN}]}'),
        row("7.1-json-syntax", '{"instances":[{"x1":Infinity}]}'),
        row("7.1-json-syntax", '{"instances":[{"x1":-Infinity}]}'),
        row("7.1-json-syntax", '{"instances":[{"x1":01}]}'),
        row("7.1-json-syntax", '{"instances":[{"x1":1.}]}'),
        row("7.1-json-syntax", '{"instances":[{"x1":.5}]}'),
        row("7.1-json-syntax", '{"instances":[{"x1":+1}]}'),
        row("7.1-json-syntax", '{"instances":[{"x1":0x10}]}'),
        row("7.1-json-syntax", '{"instances":[{"x1":True}]}'),
        row("7.1-json-syntax", '{"instances":[{"x1":"\t"}]}'),
        row("7.1-json-syntax", '{"instances":[{"x1":"\\x"}]}'),
        row("7.1-json-syntax", '{"instances":[{x1:1}]}'),
        row("7.1-json-syntax", "abc"),
        row("7.1-json-syntax", " "),
        row("7.1-json-syntax", "\0"),
        row("7.1-json-syntax", '{"instances":[{"x1":"\ud800"}]}'.encode("utf-8", "surrogatepass")),
        row("7.1-json-syntax", b'{"instances":[{"x1":"\xff\xfe"}]}'),
        row("7.1-json-syntax", b"\xff\xfe\x00"),
        row("7.1-json-syntax", "[" * 100_000),
        row("7.1-json-syntax", '{"instances":' * 50_000),
    ],
)
def test_bad_json(server: RunningServer, body: str | bytes) -> None:
    reply = post(server.rest, ADD, body)
    assert reply.status == 400
    assert reply.error.startswith("Illegal JSON format")


@stands_for("7.1-deep-json")
def test_deep_but_good_json_is_answered(server: RunningServer) -> None:
    deep = '{"instances":[{"x":' + "[" * 900 + "1" + "]" * 900 + "}]}"
    reply = post(server.rest, ECHO, deep)
    assert reply.status in (200, 400)


@pytest.mark.parametrize(
    "method",
    [
        row("7.1-verb-put", "PUT"),
        row("7.1-verb-delete", "DELETE"),
        row("7.1-verb-patch", "PATCH"),
    ],
)
@pytest.mark.parametrize("path", [ADD, "/", "/model/nosuch:x"])
def test_other_verbs(server: RunningServer, method: str, path: str) -> None:
    check_error(send(server.rest, method, path), 405, POST_ONLY)
    check_error(send(server.rest, method, path, GOOD_BODY), 405, POST_ONLY)


@stands_for("7.1-verb-options")
@pytest.mark.parametrize("path", [ADD, "/", "/model/nosuch:x"])
def test_options(server: RunningServer, path: str) -> None:
    verbs = "POST, OPTIONS" if path == "/" else "POST, GET, HEAD, OPTIONS"
    for body in ("", GOOD_BODY):
        reply = send(server.rest, "OPTIONS", path, body)
        assert (reply.status, reply.body, reply.headers["allow"]) == (200, b"", verbs)
        assert "content-type" not in reply.headers


@stands_for("7.1-verb-get", "7.1-verb-head")
def test_get_and_head_describe_what_there_is(server: RunningServer) -> None:
    get, head = (send(server.rest, verb, ADD) for verb in ("GET", "HEAD"))
    assert (get.status, head.status, head.body) == (200, 200, b"")
    assert json.loads(get.body)["methods"][0]["name"] == "add_common"
    assert head.headers["content-type"] == "application/json"
    assert head.headers["content-length"] == str(len(get.body))
    check_error(send(server.rest, "GET", "/"), 405, POST_ONLY)
    check_error(send(server.rest, "GET", "/", GOOD_BODY), 405, POST_ONLY)
    assert (send(server.rest, "HEAD", "/").status, send(server.rest, "HEAD", "/").body) == (405, b"")
    text = "Request servable(nosuch) method(x) , servable is not available"
    check_error(send(server.rest, "GET", "/model/nosuch:x"), 404, text)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"),
    [
        row("7.1-order-verb", "GET", "/", "{", 405, POST_ONLY),
        row("7.1-order-empty-body", "POST", "/", "", 400, "http message invalid"),
        row("7.1-order-empty-body", "POST", "/model/nosuch:x", "", 400, "http message invalid"),
        row("7.1-order-model", "POST", "/version/abc:x", "{}", 400, NO_MODEL),
        row("7.1-order-version", "POST", "/model/add/version/abc", "{}", 400, BAD_VERSION + "abc"),
        row("7.1-order-version", "POST", "/model/add/version/-1", "{}", 400, VERSION_RANGE + "-1"),
        row("7.1-order-method", "POST", "/model/add", "{}", 400, NO_METHOD),
        row("7.1-order-instances", "POST", "/model/nosuch:x", "{}", 400, NO_INSTANCES),
    ],
)
def test_order_of_checks(
    server: RunningServer, method: str, path: str, body: str, status: int, text: str
) -> None:
    check_error(send(server.rest, method, path, body), status, text)


@pytest.mark.parametrize(
    "path",
    [
        row("7.1-order-json", "/"),
        row("7.1-order-json", "/model/add"),
        row("7.1-order-json", "/model/add/version/abc:x"),
        row("7.1-order-json", "/model/nosuch:x"),
    ],
)
def test_json_is_looked_at_before_the_url(server: RunningServer, path: str) -> None:
    reply = post(server.rest, path, "{")
    assert reply.status == 400
    assert reply.error.startswith("Illegal JSON format")


# --- Connections and sizes ---


@stands_for("7.1-keep-alive")
def test_connection_is_kept_over_errors(server: RunningServer) -> None:
    connection = http.client.HTTPConnection(server.rest, timeout=ANSWER_TIMEOUT_S)
    with contextlib.closing(connection):
        connection.connect()
        first = connection.sock
        good = json.dumps(GOOD_BODY).encode()
        for method, path, body, status in [
            ("POST", ADD, good, 200),
            ("POST", ADD, b"{", 400),
            ("POST", "/model/nosuch:x", good, 404),
            ("GET", ADD, b"", 200),
            ("GET", "/", b"", 405),
            ("PUT", ADD, good, 405),
            ("POST", "/model/pystage:raises", ECHO_BODY.encode(), 500),
            ("POST", ADD, b"", 400),
            ("POST", ADD, good, 200),
        ]:
            connection.request(method, path, body)
            assert read_reply(connection).status == status
        assert connection.sock is first


def head(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (*parts, b""))


@stands_for("7.1-chunked")
def test_chunked_body(server: RunningServer) -> None:
    body = json.dumps(GOOD_BODY).encode()
    with raw_connection(server.rest) as connection:
        connection.sendall(head(ADD, "Transfer-Encoding: chunked"))
        for at in range(0, len(body), 7):
            part = body[at : at + 7]
            connection.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        connection.sendall(b"0\r\n\r\n")
        check(read_raw_reply(connection), 200, GOOD_REPLY)


@stands_for("7.1-empty-body-chunked")
def test_empty_chunked_body(server: RunningServer) -> None:
    with raw_connection(server.rest) as connection:
        connection.sendall(head(ADD, "Transfer-Encoding: chunked") + b"0\r\n\r\n")
        check_error(read_raw_reply(connection), 400, "http message invalid")


@stands_for("7.1-empty-body-none")
def test_no_body_at_all(server: RunningServer) -> None:
    with raw_connection(server.rest) as connection:
        connection.sendall(head(ADD))
        check_error(read_raw_reply(connection), 400, "http message invalid")


@stands_for("7.1-pipelined")
def test_two_requests_at_once_are_answered_in_order(server: RunningServer) -> None:
    good = json.dumps(GOOD_BODY).encode()
    with raw_connection(server.rest) as connection:
        connection.sendall(
            head("/model/pystage:raises", f"Content-Length: {len(ECHO_BODY)}")
            + ECHO_BODY.encode()
            + head(ADD, f"Content-Length: {len(good)}", "Connection: close")
            + good
        )
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    first, boom, rest = received.partition(BOOM.encode())
    assert first.startswith(b"HTTP/1.1 500 ")
    assert boom
    assert rest.endswith(b"\r\n\r\n" + GOOD_REPLY.encode())
    assert b"HTTP/1.1 200 " in rest


@stands_for("7.1-expect-100")
def test_expect_100_continue(server: RunningServer) -> None:
    body = json.dumps(GOOD_BODY).encode()
    with raw_connection(server.rest) as connection:
        connection.settimeout(5)
        connection.sendall(head(ADD, f"Content-Length: {len(body)}", "Expect: 100-continue"))
        assert connection.recv(1024) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        check(read_raw_reply(connection), 200, GOOD_REPLY)


@pytest.mark.parametrize(
    "content",
    [
        row("7.1-no-http", b"\0\1\2\3\r\n\r\n"),
        row("7.1-no-http", b"NONSENSE\r\n\r\n"),
        row("7.1-no-http", head(ADD, "Content-Length: abc")),
        row("7.1-no-http", head(ADD, "Content-Length: -5")),
        row("7.1-no-http", head(ADD, "Transfer-Encoding: chunked") + b"zz\r\n"),
    ],
)
def test_what_is_no_http(server: RunningServer, content: bytes) -> None:
    with raw_connection(server.rest) as connection:
        connection.sendall(content)
        assert read_raw_reply(connection).status == 400


def padded(length: int) -> bytes:
    """A good body of this length."""
    return ECHO_BODY.encode().ljust(length)


@stands_for("7.1-body-size-largest")
def test_largest_body(small_server: RunningServer) -> None:
    check(post(small_server.rest, ECHO, padded(MEGABYTE)), 200, ECHO_REPLY)
    with raw_connection(small_server.rest) as connection:
        connection.sendall(head(ECHO, "Transfer-Encoding: chunked") + chunked(padded(MEGABYTE)))
        check(read_raw_reply(connection), 200, ECHO_REPLY)


TOO_LARGE = f"http message is bigger than {MEGABYTE}"


@pytest.mark.parametrize(
    "length",
    [
        row("7.1-body-size", MEGABYTE + 1),
        row("7.1-body-size", 3 * MEGABYTE),
        row("7.1-body-size", 20 * MEGABYTE),
    ],
)
def test_body_above_the_limit(small_server: RunningServer, length: int) -> None:
    check_error(post(small_server.rest, ECHO, padded(length)), 413, TOO_LARGE)
    check(post(small_server.rest, ECHO, ECHO_BODY), 200, ECHO_REPLY)


@pytest.mark.parametrize(
    "length",
    [
        row("7.1-body-size-chunked", MEGABYTE + 1),
        row("7.1-body-size-chunked", 3 * MEGABYTE),
        row("7.1-body-size-chunked", 20 * MEGABYTE),
    ],
)
def test_chunked_body_above_the_limit(small_server: RunningServer, length: int) -> None:
    parts = [padded(length)[at : at + 65536] for at in range(0, length, 65536)]
    with raw_connection(small_server.rest) as connection:
        connection.sendall(head(ECHO, "Transfer-Encoding: chunked"))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(chunked(*parts))
        check_error(read_raw_reply(connection), 413, TOO_LARGE)
    check(post(small_server.rest, ECHO, ECHO_BODY), 200, ECHO_REPLY)


@stands_for("7.1-body-size-announced")
def test_announced_length_above_the_limit_is_refused_without_the_body(small_server: RunningServer) -> None:
    with raw_connection(small_server.rest) as connection:
        connection.sendall(head(ECHO, f"Content-Length: {1 << 60}", "Expect: 100-continue"))
        check_error(read_raw_reply(connection), 413, TOO_LARGE)


@stands_for("7.1-body-size-default")
def test_body_above_the_default_limit(server: RunningServer) -> None:
    reply = post(server.rest, ECHO, padded(110_000_000))
    check_error(reply, 413, f"http message is bigger than {100 * MEGABYTE}")


# --- always_ok ---


@pytest.fixture(scope="module")
def always_ok_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("always_ok")
    add_servable(folder, "pystage", servables.PYSTAGE, ())
    with serving(folder, ['".", "pystage"'], rest_options="always_ok=True, max_msg_mb_size=1") as running:
        yield running


@pytest.mark.parametrize(
    ("method", "path", "body", "text"),
    [
        row(
            "7.1-always_ok-servable",
            "POST",
            "/model/nosuch:x",
            ECHO_BODY,
            "Request servable(nosuch) method(x) , servable is not available",
        ),
        row("7.1-always_ok-url", "POST", "/", ECHO_BODY, NO_MODEL),
        row("7.1-always_ok-empty", "POST", ECHO, "", "http message invalid"),
        row("7.1-always_ok-instances", "POST", ECHO, "{}", NO_INSTANCES),
        row("7.1-always_ok-get", "GET", "/", "", POST_ONLY),
        row("7.1-always_ok-delete", "DELETE", ECHO, "", POST_ONLY),
        row("7.1-always_ok-stage", "POST", "/model/pystage:raises", ECHO_BODY, BOOM),
        row("7.1-always_ok-size", "POST", ECHO, padded(MEGABYTE + 1), TOO_LARGE),
    ],
)
def test_always_ok(
    always_ok_server: RunningServer, method: str, path: str, body: str | bytes, text: str
) -> None:
    check_error(send(always_ok_server.rest, method, path, body), 200, text)
    check(post(always_ok_server.rest, ECHO, ECHO_BODY), 200, ECHO_REPLY)


@stands_for("7.1-always_ok-json")
def test_always_ok_bad_json_and_head(always_ok_server: RunningServer) -> None:
    reply = post(always_ok_server.rest, ECHO, "{")
    assert reply.status == 200
    assert reply.error.startswith("Illegal JSON format")
    assert send(always_ok_server.rest, "HEAD", ECHO).status == 200


@stands_for("7.1-always_ok-keyword")
def test_always_ok_is_a_keyword_only() -> None:
    parameter = inspect.signature(start_restful_server).parameters["always_ok"]
    assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
    assert parameter.default is False


ALWAYS_OK_SCRIPT = """\
import os
import urllib.error
import urllib.request

from mindspore_serving import master, server


def status():
    request = urllib.request.Request("http://{rest}/model/none:x", b"{{}}")
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def try_(name, start, stop):
    try:
        start()
        print("told", name, status(), flush=True)
    except RuntimeError as error:
        print("told", name, error, flush=True)
    stop()


for value in ("yes", "1", "0"):
    os.environ["SERVING_REST_ALWAYS_OK"] = value
    try_(value, lambda: server.start_restful_server("{rest}"), server.stop)
try_("by default", lambda: master.start_restful_server("127.0.0.1", {port}), master.stop)
try_("by keyword", lambda: master.start_restful_server("127.0.0.1", {port}, always_ok=True), master.stop)
"""


@stands_for("7.1-always_ok-variable")
def test_always_ok_by_a_variable_and_by_the_name_of_1_2(tmp_path: Path) -> None:
    port = free_port()
    script = tmp_path / "always_ok.py"
    script.write_text(ALWAYS_OK_SCRIPT.format(rest=f"127.0.0.1:{port}", port=port))
    with running_script(script) as running:
        assert running.wait() == 0, running.output
    assert [line for line in running.lines if line.startswith("told ")] == [
        "told yes Environment variable SERVING_REST_ALWAYS_OK should be 0 or 1, but got 'yes'",
        "told 1 200",
        "told 0 400",
        "told by default 400",
        "told by keyword 200",
    ]


# --- HTTPS ---


def secure(running: RunningServer, tls: ssl.SSLContext) -> HttpReply:
    return send(running.rest.replace("127.0.0.1", "localhost"), "POST", ECHO, ECHO_BODY, tls=tls)


def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=authority.certificate)


def showing(authority: Authority, pair: Pair) -> ssl.SSLContext:
    context = trusting(authority)
    context.load_cert_chain(pair.certificate, pair.private_key)
    return context


REFUSED = (ssl.SSLError, ConnectionError, http.client.HTTPException)


@stands_for("7.4-https")
def test_https(tls_server: RunningServer, authority: Authority, client_pair: Pair) -> None:
    check(secure(tls_server, trusting(authority)), 200, ECHO_REPLY)
    check(secure(tls_server, showing(authority, client_pair)), 200, ECHO_REPLY)


@pytest.mark.parametrize(
    "version", [row("7.4-tls-1.2", ssl.TLSVersion.TLSv1_2), row("7.4-tls-1.3", ssl.TLSVersion.TLSv1_3)]
)
def test_https_versions(tls_server: RunningServer, authority: Authority, version: ssl.TLSVersion) -> None:
    context = trusting(authority)
    context.minimum_version = context.maximum_version = version
    check(secure(tls_server, context), 200, ECHO_REPLY)


@stands_for("7.4-tls-1.1")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_https_refuses_tls_1_1(tls_server: RunningServer, authority: Authority) -> None:
    context = trusting(authority)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(REFUSED):
        secure(tls_server, context)


@stands_for("7.4-status")
def test_https_errors_keep_their_status(tls_server: RunningServer, authority: Authority) -> None:
    address = tls_server.rest.replace("127.0.0.1", "localhost")
    reply = send(address, "POST", "/model/nosuch:x", ECHO_BODY, tls=trusting(authority))
    check_error(reply, 404, "Request servable(nosuch) method(x) , servable is not available")


@stands_for("7.4-stranger")
def test_https_certificate_of_a_stranger(tls_server: RunningServer, stranger: Authority) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        secure(tls_server, trusting(stranger))


@stands_for("7.4-plain-http")
def test_plain_http_to_https(
    tls_server: RunningServer, mutual_server: RunningServer, authority: Authority
) -> None:
    for running in (tls_server, mutual_server):
        reply = post(running.rest, ECHO, ECHO_BODY)
        assert (reply.status, reply.headers["content-type"]) == (400, "text/plain")
        assert reply.text == "This port speaks HTTPS only: use https:// in place of http://\n"
    check(secure(tls_server, trusting(authority)), 200, ECHO_REPLY)


@stands_for("7.4-mutual")
def test_mutual_https(mutual_server: RunningServer, authority: Authority, client_pair: Pair) -> None:
    check(secure(mutual_server, showing(authority, client_pair)), 200, ECHO_REPLY)


@stands_for("7.4-mutual-refuses")
def test_mutual_https_refuses(
    mutual_server: RunningServer, authority: Authority, stranger: Authority, client_pair: Pair
) -> None:
    for context in (trusting(authority), showing(authority, stranger.issue("foreign_rest"))):
        with pytest.raises(REFUSED):
            secure(mutual_server, context)
    check(secure(mutual_server, showing(authority, client_pair)), 200, ECHO_REPLY)
