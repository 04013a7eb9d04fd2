"""Certificates that change while the server runs, and what both front ends offer of TLS."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.server.test_keys import ANSWER, BODY, ECHO, PATH
from tests.support.certificates import Authority, Pair
from tests.support.http_requests import ANSWER_TIMEOUT_S, raw_connection, read_reply
from tests.support.serving import RunningServer, add_servable, serving
from tests.support.watch import wait_until

PORTS = ("grpc", "rest")
REFUSED = (ssl.SSLError, ConnectionError, http.client.HTTPException)


def without_checks() -> ssl.SSLContext:
    """A client that takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


def showing(pair: Pair) -> ssl.SSLContext:
    context = without_checks()
    context.load_cert_chain(pair.certificate, pair.private_key)
    return context


def connect(address: str, context: ssl.SSLContext) -> ssl.SSLSocket:
    host, _, port = address.rpartition(":")
    plain = socket.create_connection((host, int(port)), timeout=ANSWER_TIMEOUT_S)
    return context.wrap_socket(plain, server_hostname="localhost")


def served(address: str, context: ssl.SSLContext) -> bytes:
    """The certificate that a new connection is shown, DER."""
    with connect(address, context) as connection:
        certificate = connection.getpeercert(binary_form=True)
    assert certificate is not None
    return certificate


def is_let_in(address: str, context: ssl.SSLContext) -> bool:
    """Whether a front end talks to a client; in TLS 1.3 it says no only after the client's handshake is done."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"
    try:
        with connect(address, context) as connection:
            connection.sendall(preface)
            return bool(connection.recv(1))  # the settings of HTTP/2, or an error of HTTP/1.1
    except REFUSED:
        return False


def der(path: str) -> bytes:
    return ssl.PEM_cert_to_DER_cert(Path(path).read_text())


def replace(path: str, new: str) -> None:
    """Let a file have the content of another."""
    Path(path).write_bytes(Path(new).read_bytes())


@pytest.mark.both_grpc_servers
def test_files_that_change_are_used_without_a_restart(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path, "ca"), Authority(tmp_path, "other")
    first, second = authority.issue("first"), authority.issue("second")
    client, stranger = showing(authority.issue("client")), showing(other.issue("stranger"))
    files = authority.issue("used")
    replace(files.certificate, first.certificate)
    replace(files.private_key, first.private_key)
    trusted = str(tmp_path / "trusted.crt")
    Path(trusted).write_bytes(Path(authority.certificate).read_bytes())
    add_servable(tmp_path, "one", ECHO, ())
    tls = f"ssl_config=server.SSLConfig({files.certificate!r}, {files.private_key!r}, {trusted!r}, True)"
    with serving(tmp_path, ['".", "one"'], grpc_options=tls, rest_options=tls) as server:
        addresses = (server.grpc, server.rest)

        def all_serve(certificate: bytes) -> bool:
            return [served(address, client) for address in addresses] == [certificate] * 2

        def complaints() -> int:
            return server.read_output().count("the new content cannot be used, the old one stays in use: ")

        assert all_serve(der(first.certificate))
        rest_context = showing(first)
        rest_context.set_alpn_protocols(["http/1.1"])
        kept = http.client.HTTPSConnection(server.rest, timeout=ANSWER_TIMEOUT_S, context=rest_context)
        assert post(kept) == ANSWER

        replace(files.private_key, second.private_key)  # half of the pair
        wait_until(lambda: all_serve(der(first.certificate)) and complaints() == 2, "both complain")
        assert all_serve(der(first.certificate))
        replace(files.certificate, second.certificate)
        wait_until(lambda: all_serve(der(second.certificate)), "both use the new pair")

        Path(files.certificate).write_text("-----BEGIN CERTIFICATE-----\nnonsense\n")
        wait_until(lambda: all_serve(der(second.certificate)) and complaints() == 4, "both complain")
        assert all_serve(der(second.certificate))
        replace(files.certificate, first.certificate)
        replace(files.private_key, first.private_key)
        wait_until(lambda: all_serve(der(first.certificate)), "both use the old pair again")

        assert not any(is_let_in(address, stranger) for address in addresses)
        replace(trusted, other.certificate)
        wait_until(lambda: all(is_let_in(address, stranger) for address in addresses), "strangers are let in")
        assert not any(is_let_in(address, client) for address in addresses)
        assert post(kept) == ANSWER  # what is connected stays so
        assert complaints() == 4
        kept.close()


def post(connection: http.client.HTTPSConnection) -> str:
    connection.request("POST", PATH, json.dumps(BODY))
    return read_reply(connection).text


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("tls")
    pair = Authority(folder, "ca").issue("localhost")
    add_servable(folder, "one", ECHO, ())
    tls = f"ssl_config=server.SSLConfig({pair.certificate!r}, {pair.private_key!r})"
    with serving(folder, ['".", "one"'], grpc_options=tls, rest_options=tls) as running:
        yield running


def speaking(version: ssl.TLSVersion, ciphers: str) -> ssl.SSLContext:
    context = without_checks()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that of versions which the server is to refuse
        context.minimum_version = context.maximum_version = version
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    return context


@pytest.mark.both_grpc_servers
@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize(
    ("make", "spoken"),
    [
        (lambda: speaking(ssl.TLSVersion.TLSv1_1, "ALL"), None),
        (lambda: speaking(ssl.TLSVersion.TLSv1_2, "ECDHE+AES:!AESGCM:!AESCCM"), None),
        (lambda: speaking(ssl.TLSVersion.TLSv1_2, "ECDHE+AESCCM"), None),
        (lambda: speaking(ssl.TLSVersion.TLSv1_2, "ALL"), "TLSv1.2"),
        (lambda: speaking(ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-GCM-SHA256"), "TLSv1.2"),
        (lambda: speaking(ssl.TLSVersion.TLSv1_3, "ALL"), "TLSv1.3"),
    ],
    ids=["1.1", "1.2-cbc", "1.2-ccm", "1.2-any", "1.2-gcm", "1.3"],
)
def test_what_is_spoken(
    tls_server: RunningServer, port: str, make: Callable[[], ssl.SSLContext], spoken: str | None
) -> None:
    address = tls_server.grpc if port == "grpc" else tls_server.rest
    if spoken is None:
        # The server refuses, not this side: an alert, or the end of the connection.
        with pytest.raises((ssl.SSLError, ConnectionError), match=r"ALERT|EOF|reset"):
            connect(address, make())
        return
    with connect(address, make()) as connection:
        assert connection.version() == spoken
        cipher = connection.cipher()
        assert cipher is not None
        assert "GCM" in cipher[0] or "CHACHA20" in cipher[0]
        assert connection.compression() is None


@pytest.mark.both_grpc_servers
@pytest.mark.parametrize("port", PORTS)
def test_handshakes_that_fail_do_not_fill_the_log(tls_server: RunningServer, port: str) -> None:
    tls_server.read_output()
    before = len(tls_server.lines)
    address = getattr(tls_server, port)
    for number in range(60):
        with raw_connection(address) as connection, contextlib.suppress(ConnectionError):
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n" if number % 2 else bytes(100))
            while connection.recv(1 << 16):
                continue
    with connect(address, without_checks()):
        assert len(tls_server.read_output().splitlines()) - before <= 20


@pytest.mark.parametrize("tickets", [True, False], ids=["ticket", "session id"])
def test_no_session_outlives_the_trust_in_its_certificate(tmp_path: Path, tickets: bool) -> None:
    authority, other = Authority(tmp_path, "ca"), Authority(tmp_path, "other")
    pair, trusted = authority.issue("used"), str(tmp_path / "trusted.crt")
    replace(trusted, authority.certificate)
    add_servable(tmp_path, "one", ECHO, ())
    client, stranger = showing(authority.issue("client")), showing(other.issue("stranger"))
    client.maximum_version = ssl.TLSVersion.TLSv1_2  # sessions of 1.3 are not offered
    client.set_alpn_protocols(["http/1.1"])
    if not tickets:
        client.options |= ssl.OP_NO_TICKET

    def ask(address: str, session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool | None]:
        """Session of a new connection after a reply on it, and whether it is the given one."""
        host, _, port = address.rpartition(":")
        plain = socket.create_connection((host, int(port)), timeout=ANSWER_TIMEOUT_S)
        with client.wrap_socket(plain, server_hostname="localhost", session=session) as connection:
            connection.sendall(b"GET /healthz/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert connection.recv(1)
            while connection.recv(1 << 16):
                continue
            told = connection.session, connection.session_reused
            connection.unwrap()  # a connection that breaks off takes its session with it
            return told

    tls = f"ssl_config=server.SSLConfig({pair.certificate!r}, {pair.private_key!r}, {trusted!r}, True)"
    with serving(tmp_path, ['".", "one"'], rest_options=tls) as server:
        session, _ = ask(server.rest, None)
        session, resumed = ask(server.rest, session)
        assert resumed
        replace(trusted, other.certificate)
        wait_until(lambda: is_let_in(server.rest, stranger), "strangers are let in")
        with pytest.raises(REFUSED):
            ask(server.rest, session)
