"""Sections 9 and 10: the Python client, against our server and against one that answers what a test wants."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import numpy as np
import pytest

from mindspore_serving import client as client_package
from mindspore_serving import server as server_package
from mindspore_serving.client import Client, SSLConfig
from mindspore_serving.proto import ms_service_pb2 as pb
from tests.conformance.row import row, stands_for
from tests.support.certificates import Authority, Pair
from tests.support.grpc_messages import PREDICT, instance, tensor, text_tensor
from tests.support.serving import RunningServer, free_port

SQUARE = np.array([[1, 2], [3, 4]], np.float32)
SAME_TIME = "The certificate and private_key should be passed at the same time"


def text_of(call: Any) -> str:
    with pytest.raises(RuntimeError) as refused:
        call()
    return str(refused.value)


# --- Constructors ---


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        row(
            "10-address-type",
            (1, "add", "m"),
            "Parameter 'address' should be str, but actually <class 'int'>",
        ),
        row("10-address-empty", ("", "add", "m"), "Parameter 'address' should not be empty str"),
        row(
            "10-servable_name-type",
            ("localhost:1", None, "m"),
            "Parameter 'servable_name' should be str, but actually <class 'NoneType'>",
        ),
        row(
            "10-servable_name-empty",
            ("localhost:1", "", "m"),
            "Parameter 'servable_name' should not be empty str",
        ),
        row(
            "10-method_name-type",
            ("localhost:1", "add", 1),
            "Parameter 'method_name' should be str, but actually <class 'int'>",
        ),
        row(
            "10-version_number-range",
            ("localhost:1", "add", "m", -1),
            "Parameter 'version_number' should be >= 0",
        ),
        row(
            "10-version_number-type",
            ("localhost:1", "add", "m", "1"),
            "Parameter 'version_number' should be int, but actually <class 'str'>",
        ),
        row(
            "10-ssl_config-type",
            ("localhost:1", "add", "m", 0, 1),
            "The type of ssl_config should be type of SSLConfig",
        ),
        row(
            "2.1-Client-ip", (1, 5500, "add", "m"), "Parameter 'ip' should be str, but actually <class 'int'>"
        ),
        row(
            "2.1-Client-port",
            ("localhost", 65536, "add", "m"),
            "Parameter 'port' should be in range [1,65535]",
        ),
    ],
)
def test_constructor_refuses(arguments: Any, text: str) -> None:
    assert text_of(lambda: Client(*arguments)) == text


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        row("10-attributes", ("localhost:5500", "add", "m", 3), ("localhost:5500", "add", "m", 3)),
        row("2.1-Client-form", ("localhost", 5500, "add", "m", 3), ("localhost:5500", "add", "m", 3)),
        row("2.1-Client-default-version", ("localhost", 5500, "add", "m"), ("localhost:5500", "add", "m", 0)),
    ],
)
def test_attributes(arguments: Any, shown: Any) -> None:
    with Client(*arguments) as made:
        assert (made.address, made.servable_name, made.method_name, made.version_number) == shown
        assert (made.ip, made.port) == ("localhost", 5500)
        assert made.channel is not None
        assert made.stub is not None


@stands_for("10-no-connection-in-the-constructor")
def test_no_connection_is_made() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        with Client(f"127.0.0.1:{listener.getsockname()[1]}", "add", "m"), pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize(
    ("values", "text"),
    [
        row("9-client-certificate-alone", {"certificate": "c"}, SAME_TIME),
        row("9-client-private_key-alone", {"private_key": "k"}, SAME_TIME),
        row(
            "9-client-certificate-type",
            {"certificate": 1, "private_key": "k"},
            "Parameter 'certificate' should be str, but actually <class 'int'>",
        ),
        row(
            "9-client-private_key-empty",
            {"certificate": "c", "private_key": ""},
            "Parameter 'private_key' should not be empty str",
        ),
        row("9-client-custom_ca-empty", {"custom_ca": ""}, "Parameter 'custom_ca' should not be empty str"),
        row(
            "9-client-custom_ca-type",
            {"custom_ca": 1},
            "Parameter 'custom_ca' should be str, but actually <class 'int'>",
        ),
    ],
)
def test_ssl_config_of_clients(values: dict[str, Any], text: str) -> None:
    assert text_of(lambda: SSLConfig(**values)) == text


@stands_for("9-client-all-none+9-client-attributes")
def test_ssl_config_holds() -> None:
    empty = SSLConfig()
    assert (empty.certificate, empty.private_key, empty.custom_ca) == (None, None, None)
    full = SSLConfig(certificate="c", private_key="k", custom_ca="a")
    assert (full.certificate, full.private_key, full.custom_ca) == ("c", "k", "a")
    assert client_package.SSLConfig is not server_package.SSLConfig


@stands_for("9-server-attributes+9-server-custom_ca-ignored")
def test_ssl_config_of_servers() -> None:
    one_way = server_package.SSLConfig("c", "k", custom_ca=5)
    assert (one_way.certificate, one_way.private_key, one_way.verify_client) == ("c", "k", False)
    mutual = server_package.SSLConfig("c", "k", "a", True)
    assert (mutual.custom_ca, mutual.verify_client) == ("a", True)


@stands_for("9-host-name")
def test_the_name_of_the_host_is_checked(
    tls_server: RunningServer, authority: Authority, client_pair: Pair
) -> None:
    config = SSLConfig(client_pair.certificate, client_pair.private_key, authority.certificate)
    for address, works in (
        (tls_server.grpc.replace("127.0.0.1", "localhost"), True),
        (tls_server.grpc, False),
    ):
        with Client(address, "pystage", "identity", ssl_config=config) as made:
            reply: Any = made.infer({"x": SQUARE})
            assert isinstance(reply, list) is works, reply
            assert works or reply["error"].startswith("Grpc Error, (14, 'unavailable'), ")


# --- Values ---


@pytest.mark.parametrize(
    ("value", "text"),
    [
        row("10-value-list", [1, 2], "Not support value type <class 'list'>"),
        row("10-value-none", None, "Not support value type <class 'NoneType'>"),
        row("10-value-dict", {}, "Not support value type <class 'dict'>"),
        row("10-value-str-array", np.array(["abc"]), "Unknown data type <U3"),
        row("10-value-object-array", np.array([1, None], object), "Unknown data type object"),
        row("10-value-ragged", np.array([[1], [1, 2]], object), "Unknown data type object"),
        row("10-value-complex", np.array([1j]), "Unknown data type complex128"),
    ],
)
def test_values_that_are_refused(server: RunningServer, value: Any, text: str) -> None:
    with Client(server.grpc, "pystage", "echo") as made:
        assert text_of(lambda: made.infer({"x": value})) == text
        assert text_of(lambda: made.infer_async([{"x": value}])) == text


@pytest.mark.parametrize(
    ("value", "dtype", "shape"),
    [
        row("10-sent-bool", True, np.bool_, (1,)),
        row("10-sent-int", 7, np.int64, (1,)),
        row("10-sent-float", 1.5, np.float64, (1,)),
        row("10-sent-np.bool_", np.bool_(True), np.bool_, ()),
        row("10-sent-np.float16", np.float16(1), np.float16, ()),
        row("10-sent-scalar-array", np.array(3, np.uint8), np.uint8, ()),
        row("10-sent-empty", np.zeros((2, 0), np.int32), np.int32, (2, 0)),
    ],
)
def test_form_of_values(server: RunningServer, value: Any, dtype: Any, shape: Any) -> None:
    with Client(server.grpc, "pystage", "echo") as made:
        [reply] = made.infer({"x": value})
    assert (reply["y"].dtype, reply["y"].shape) == (dtype, shape)


# --- A server that answers as it is told ---


class Answers:
    """A gRPC server.

    Attributes:
        address: Where it listens.
        reply: What it answers to everything.
        received: The requests, as bytes.
    """

    def __init__(self) -> None:
        self.reply = pb.PredictReply()
        self.received: list[bytes] = []
        self.address = f"127.0.0.1:{free_port()}"
        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        self._server.add_generic_rpc_handlers((self,))
        self._server.add_insecure_port(self.address)
        self._server.start()

    def service(self, call: Any) -> Any:
        assert call.method == PREDICT
        return grpc.unary_unary_rpc_method_handler(self._answer)

    def _answer(self, content: bytes, _: Any) -> bytes:
        self.received.append(content)
        return self.reply.SerializeToString()

    def stop(self) -> None:
        self._server.stop(None).wait()


@pytest.fixture(scope="module")
def answers() -> Iterator[Answers]:
    made = Answers()
    yield made
    made.stop()


def error(code: int, text: str) -> pb.ErrorMsg:
    return pb.ErrorMsg(error_code=code, error_msg=text.encode())


Y = instance(y=tensor(SQUARE))


def ask(answers: Answers, count: int = 1, **fields: Any) -> Any:
    answers.reply = pb.PredictReply(**fields)
    with Client(answers.address, "add", "add_common") as made:
        return made.infer([{"x": SQUARE}] * count)


@pytest.mark.parametrize(
    ("count", "fields", "expected"),
    [
        row("10-reply-request-error", 3, {"error_msg": [error(2, "text")]}, {"error": "text"}),
        row("10-reply-single-failure", 1, {"error_msg": [error(3, "text")]}, {"error": "text"}),
        row(
            "10-reply-partial",
            2,
            {
                "instances": [pb.Instance(), instance(y=text_tensor(b"a"))],
                "error_msg": [error(3, "t"), error(0, "")],
            },
            [{"error": "t"}, {"y": "a"}],
        ),
        row("10-reply-str", 1, {"instances": [instance(y=text_tensor(b"abc"))]}, [{"y": "abc"}]),
        row(
            "10-reply-bytes",
            1,
            {"instances": [instance(y=text_tensor(b"abc", dtype=pb.MS_BYTES))]},
            [{"y": b"abc"}],
        ),
        row(
            "10-reply-several-bytes",
            1,
            {"instances": [instance(y=text_tensor(b"a", b"b", dtype=pb.MS_BYTES, dims=[2]))]},
            [{"y": [b"a", b"b"]}],
        ),
        row(
            "10-reply-two-outputs",
            1,
            {"instances": [instance(y=text_tensor(b"a"), z=text_tensor(b"b"))]},
            [{"y": "a", "z": "b"}],
        ),
    ],
)
def test_replies(answers: Answers, count: int, fields: dict[str, Any], expected: Any) -> None:
    assert ask(answers, count, **fields) == expected


@stands_for("10-reply-array")
def test_array_of_a_reply(answers: Answers) -> None:
    [reply] = ask(answers, instances=[Y])
    assert (reply["y"].dtype, reply["y"].shape, reply["y"].tolist()) == (np.float32, (2, 2), SQUARE.tolist())


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        row(
            "10-inconsistent-reply",
            {"instances": [Y] * 3, "error_msg": [error(0, ""), error(1, "a")]},
            "error msg result size 2 not be 0, 1 or length of instances 3",
        )
    ],
)
def test_inconsistent_reply(answers: Answers, fields: dict[str, Any], text: str) -> None:
    assert text_of(lambda: ask(answers, 3, **fields)) == text


@stands_for("10-infer_async-result")
def test_infer_async(answers: Answers) -> None:
    answers.reply = pb.PredictReply(instances=[Y])
    with Client(answers.address, "add", "add_common") as made:
        [reply] = made.infer_async({"x": SQUARE}).result()
        assert reply["y"].tolist() == SQUARE.tolist()


@pytest.mark.parametrize(
    "instances",
    [row("10-instances-no-map", [1]), row("10-instances-str", "abc"), row("10-instances-none", None)],
)
def test_instances_that_are_no_maps(answers: Answers, instances: Any) -> None:
    with Client(answers.address, "add", "add_common") as made:
        assert text_of(lambda: made.infer(instances)) == "instance should be a map"


@stands_for("10-grpc-failure-text")
def test_text_of_a_grpc_failure() -> None:
    with Client(f"127.0.0.1:{free_port()}", "add", "add_common") as made:
        for reply in (made.infer({"x": SQUARE}), made.infer_async({"x": SQUARE}).result()):
            assert list(reply) == ["error"]
            assert re.match(r"Grpc Error, \(14, 'unavailable'\), \S", reply["error"])
