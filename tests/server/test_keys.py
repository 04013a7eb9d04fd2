"""API keys and names of client certificates at both front ends of a real server."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509

from mindspore_serving.client import AsyncClient, Client, SSLConfig
from tests.support.certificates import Authority, Pair
from tests.support.grpc_messages import PREDICT
from tests.support.http_requests import HttpReply, raw_connection, read_raw_reply, send
from tests.support.serving import RunningServer, add_servable, serving
from tests.support.watch import wait_until

KEY = "0123456789-this-is-the-key"
SECOND = "a-second-key-that-comes-later"
TOKEN = "the-token-of-the-cluster"
PATH = "/model/one:echo"
ECHO = """\
import json
import os

from mindspore_serving.server import register


def variables(x):
    return json.dumps(dict(os.environ))


@register.register_method(output_names=["y"])
def echo(x):
    return x


@register.register_method(output_names=["y"])
def environment(x):
    return register.add_stage(variables, x, outputs_count=1)
"""
BODY = {"instances": {"x": 7}}
ANSWER = '{"instances":[{"y":7}]}'


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def set_keys(folder: Path, *lines: str) -> None:
    """Put a new file with keys in the place of the old one."""
    new = folder / "keys.new"
    new.touch(0o600)
    new.write_text("\n".join(lines))
    new.replace(folder / "keys.txt")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server whose front ends take keys of the file keys.txt in its folder."""
    folder = tmp_path_factory.mktemp("keys")
    add_servable(folder, "one", ECHO, ())
    set_keys(folder, "# the first", KEY)
    options = "api_keys='keys.txt'"
    environment = {"SERVING_CLUSTER_TOKEN": TOKEN}
    config = '".", "one", num_parallel_workers=1'
    with serving(
        folder, [config], grpc_options=options, rest_options=options, environment=environment
    ) as running:
        yield running


def ask(server: RunningServer, key: str | None) -> Any:
    with Client(server.grpc, "one", "echo", api_key=key) as client:
        return client.infer({"x": "a"}, timeout=20)


def assert_let_in(reply: HttpReply) -> None:
    assert (reply.status, reply.text) == (200, ANSWER)


def assert_refused(reply: HttpReply) -> None:
    assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
    assert reply.headers["connection"] == "close"
    assert reply.error.startswith(
        "Not let in, this server asks for a valid API key, as 'Authorization: Bearer KEY'"
    )


@pytest.mark.parametrize(
    "headers",
    [bearer(KEY), {"X-API-Key": KEY}, {"authorization": f"bearer {KEY}"}, {**bearer(KEY), "Cookie": "a=b"}],
)
def test_rest_lets_keys_in(server: RunningServer, headers: dict[str, str]) -> None:
    assert_let_in(send(server.rest, "POST", PATH, BODY, headers))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer(KEY + "x"),
        bearer(KEY[:-1]),
        {"X-API-Key": f"Bearer {KEY}"},
        {"Authorization": KEY},
        {"Cookie": KEY},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", PATH), ("GET", PATH), ("POST", "/healthz/live"), ("PUT", "/x")]
)
def test_rest_refuses_others(server: RunningServer, headers: dict[str, str], method: str, path: str) -> None:
    assert_refused(send(server.rest, method, path, BODY, headers))


def test_rest_tells_everybody_how_it_is(server: RunningServer) -> None:
    assert send(server.rest, "GET", "/healthz/live").status != 401
    assert send(server.rest, "GET", "/healthz/live", "a body, which would have to be kept").status == 401
    with raw_connection(server.rest) as connection:  # one behind the other
        for headers in ("", f"X-API-Key: {KEY}\r\n", ""):
            connection.sendall(f"GET /healthz/ready HTTP/1.1\r\nHost: a\r\n{headers}\r\n".encode())
            document = json.loads(read_raw_reply(connection).body)
            assert document.pop("status") == "ready"
            assert list(document.get("servables", ())) == (["one/1"] if headers else [])
            assert list(document) == (["servables"] if headers else [])


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 100000000\r\n",
        b"Content-Length: 100\r\nExpect: 100-continue\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Length: 999999999999\r\n",
        b"Content-Length: 3\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n",
    ],
)
def test_rest_refuses_before_the_body_is_sent(server: RunningServer, head: bytes) -> None:
    with raw_connection(server.rest) as connection:
        connection.sendall(b"POST /model/one:echo HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n")
        assert_refused(read_raw_reply(connection))


def test_each_request_of_a_connection_needs_a_key(server: RunningServer) -> None:
    body = json.dumps(BODY).encode()
    plain = b"POST /model/one:echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n" % len(body)
    offered = plain + b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
    key = b"Authorization: Bearer %b\r\n\r\n" % KEY.encode()
    with raw_connection(server.rest) as connection:
        for head in (plain + key, offered + key, plain + key):
            connection.sendall(head + body)
            assert_let_in(read_raw_reply(connection))
        connection.sendall(plain + b"\r\n" + body)
        assert_refused(read_raw_reply(connection))


async def ask_on_a_loop(server: RunningServer, key: str | None) -> Any:
    async with AsyncClient(server.grpc, "one", "echo", api_key=key) as client:
        return await client.infer({"x": "a"}, timeout=20)


@pytest.mark.both_grpc_servers
def test_grpc_lets_keys_in(server: RunningServer) -> None:
    assert ask(server, KEY) == [{"y": "a"}]
    assert asyncio.run(ask_on_a_loop(server, KEY)) == [{"y": "a"}]


@pytest.mark.both_grpc_servers
@pytest.mark.parametrize("key", [None, KEY + "x", SECOND + "-never"])
def test_grpc_refuses_others(server: RunningServer, key: str | None) -> None:
    error = "Grpc Error, (16, 'unauthenticated'), Not let in, this server asks for a valid API key"
    for result in (ask(server, key), asyncio.run(ask_on_a_loop(server, key))):
        assert result["error"].startswith(error)


@pytest.mark.both_grpc_servers
@pytest.mark.parametrize(("name", "admitted"), [("x-api-key", True), ("api-key", False)])
def test_grpc_takes_the_other_header(server: RunningServer, name: str, admitted: bool) -> None:
    with grpc.insecure_channel(server.grpc) as channel:
        call = channel.unary_unary(PREDICT).future(b"no message", timeout=20, metadata=[(name, KEY)])
        expected = grpc.StatusCode.INTERNAL if admitted else grpc.StatusCode.UNAUTHENTICATED
        assert call.code() is expected


@pytest.mark.both_grpc_servers
def test_grpc_refuses_before_the_message_is_sent(server: RunningServer) -> None:
    refused = threading.Event()

    def messages() -> Iterator[bytes]:
        refused.wait(20)
        yield b""

    with grpc.insecure_channel(server.grpc) as channel:
        call = channel.stream_unary(PREDICT).future(messages(), timeout=10)
        assert call.code() is grpc.StatusCode.UNAUTHENTICATED
        refused.set()


@pytest.mark.both_grpc_servers
def test_who_is_refused_can_read_it_though_the_request_is_large(server: RunningServer) -> None:
    size = 20 << 20
    with Client(server.grpc, "one", "echo") as client:
        result: Any = client.infer({"x": bytes(size)}, timeout=20)
    assert result["error"].startswith("Grpc Error, (16, 'unauthenticated')")
    assert_refused(send(server.rest, "POST", PATH, bytes(size)))


@pytest.mark.both_grpc_servers
def test_another_call_is_none(server: RunningServer) -> None:
    with grpc.insecure_channel(server.grpc) as channel:
        call = channel.unary_unary("/some.Service/Other").future(b"", timeout=20)
        assert call.code() is grpc.StatusCode.UNIMPLEMENTED


def environment_of_worker(server: RunningServer, key: str) -> str:
    """As a function of the servable sees it, JSON."""
    with Client(server.grpc, "one", "environment", api_key=key) as client:
        result: Any = client.infer({"x": 1}, timeout=20)
    return str(result[0]["y"])


def test_workers_get_the_environment_but_for_the_token(server: RunningServer) -> None:
    assert TOKEN.encode() in Path(f"/proc/{server.process.pid}/environ").read_bytes()
    environment = json.loads(environment_of_worker(server, KEY))
    assert "SERVING_CLUSTER_TOKEN" not in environment
    assert environment["SERVING_BACKEND"] == "stub"
    assert environment["PYTHONUNBUFFERED"] == "1"


def refused(server: RunningServer, key: str) -> set[str]:
    """The front ends that refuse a key."""
    refusing = {"rest"} if send(server.rest, "POST", PATH, BODY, bearer(key)).status == 401 else set()
    return refusing | ({"grpc"} if "error" in ask(server, key) else set())


@pytest.mark.both_grpc_servers
def test_keys_come_and_go_while_the_server_runs(tmp_path: Path) -> None:
    add_servable(tmp_path, "one", ECHO, ())
    set_keys(tmp_path, KEY)
    options = "api_keys='keys.txt'"
    with serving(tmp_path, ['".", "one"'], grpc_options=options, rest_options=options) as server:
        assert refused(server, SECOND) == {"rest", "grpc"}
        set_keys(tmp_path, KEY, SECOND)
        wait_until(lambda: not refused(server, SECOND), "the second key lets in")
        set_keys(tmp_path, SECOND)
        wait_until(lambda: refused(server, KEY) == {"rest", "grpc"}, "the first key is gone")
        set_keys(tmp_path, KEY, "0123456789")
        wait_until(
            lambda: not refused(server, SECOND) and server.read_output().count("stays in use") == 2,
            "both front ends complain",
        )
        assert refused(server, KEY) == {"rest", "grpc"}
        seen = [
            *(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in (*server.workers(), server.process.pid)),
            environment_of_worker(server, SECOND).encode(),
            server.worker_logs().encode(),
        ]
    text = "should have 16 to 256 characters, but actually has 10"
    assert (
        server.output.count(f"the old one stays in use: Line 2 of the file of parameter 'api_keys' {text}")
        == 2
    )
    for content in (*seen, server.output.encode()):
        assert not any(secret in content for secret in (KEY.encode(), SECOND.encode(), b"0123456789"))


# --- Names of client certificates ---

KEYS_IN_A_LIST = f"api_keys=[{KEY!r}]"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"), "ca")


@pytest.fixture(scope="module")
def mutual_server(
    tmp_path_factory: pytest.TempPathFactory, certificates: Authority
) -> Iterator[RunningServer]:
    """A server that lets some names in, and at REST keys as well."""
    folder = tmp_path_factory.mktemp("mutual")
    add_servable(folder, "one", ECHO, ())
    pair = certificates.issue("server")
    tls = (
        f"ssl_config=server.SSLConfig({pair.certificate!r}, {pair.private_key!r}, {certificates.certificate!r}, True, "
        "client_identities=['alice', 'spiffe://example/job', 'bob@example', 'bob.example'])"
    )
    with serving(
        folder, ['".", "one"'], grpc_options=tls, rest_options=f"{tls}, {KEYS_IN_A_LIST}"
    ) as running:
        yield running


HOLDERS = {
    "alice": ((), True),
    "job": ((x509.UniformResourceIdentifier("spiffe://example/job"),), True),
    "mail": ((x509.RFC822Name("bob@example"),), True),
    "host": ((x509.DNSName("other.example"), x509.DNSName("bob.example")), True),
    "mallory": ((x509.DNSName("www.bob.example"), x509.RFC822Name("alice@example")), False),
}


@pytest.fixture(scope="module")
def holders(certificates: Authority) -> dict[str, Pair]:
    return {name: certificates.issue(name, *more) for name, (more, _) in HOLDERS.items()}


def post_as(
    server: RunningServer, certificates: Authority, pair: Pair, headers: dict[str, str] | None = None
) -> HttpReply:
    context = ssl.create_default_context(cafile=certificates.certificate)
    context.load_cert_chain(pair.certificate, pair.private_key)
    address = server.rest.replace("127.0.0.1", "localhost")
    return send(address, "POST", PATH, BODY, headers, tls=context)


@pytest.mark.both_grpc_servers
@pytest.mark.parametrize("name", HOLDERS)
def test_names_of_certificates(
    mutual_server: RunningServer, certificates: Authority, holders: dict[str, Pair], name: str
) -> None:
    pair, admitted = holders[name], HOLDERS[name][1]
    reply = post_as(mutual_server, certificates, pair)
    assert reply.status == (200 if admitted else 401)
    tls = SSLConfig(pair.certificate, pair.private_key, certificates.certificate)
    address = mutual_server.grpc.replace("127.0.0.1", "localhost")
    with Client(address, "one", "echo", ssl_config=tls) as client:
        result = client.infer({"x": "a"}, timeout=20)
    if admitted:
        assert result == [{"y": "a"}]
    else:
        assert "a client certificate for a name that this server admits" in reply.error
        assert result["error"] == (  # type: ignore[call-overload]
            "Grpc Error, (16, 'unauthenticated'), Not let in, this server asks for a client certificate for a name "
            "that this server admits"
        )


@pytest.mark.both_grpc_servers
def test_a_key_helps_where_the_name_does_not(
    mutual_server: RunningServer, certificates: Authority, holders: dict[str, Pair]
) -> None:
    assert_let_in(post_as(mutual_server, certificates, holders["mallory"], bearer(KEY)))
    assert post_as(mutual_server, certificates, holders["mallory"], bearer(SECOND)).status == 401
    assert_let_in(post_as(mutual_server, certificates, holders["alice"], bearer(SECOND)))


def test_a_master_refuses_names(certificates: Authority) -> None:
    from mindspore_serving import master, server

    tls = server.SSLConfig("a", "b", "c", True, client_identities=["alice"])
    with pytest.raises(RuntimeError, match="client_identities, which are for clients of gRPC and REST"):
        master.start_master_server("127.0.0.1", 6100, ssl_config=tls)
