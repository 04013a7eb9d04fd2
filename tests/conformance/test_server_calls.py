"""Sections 3.1 and 7.4: addresses, parameters, ports and certificates that the start functions refuse.

All calls are made by one script, one after another: a refused call ends whatever ran.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conformance.departures import agrees
from tests.conformance.row import row
from tests.conformance.scripts import outcomes
from tests.support.certificates import Authority
from tests.support.serving import free_port

Outcome = tuple[str, str] | None
IMPORTS = "from mindspore_serving.server import SSLConfig, start_grpc_server, start_restful_server, stop\n"
GRPC, REST = "start_grpc_server", "start_restful_server"
TAGS = {GRPC: "Serving gRPC", REST: "RESTful server"}
SHORT = {GRPC: "grpc", REST: "rest"}
FAILED = {
    GRPC: "Serving Error: Serving gRPC server start failed, create server failed, address {a}",
    REST: "Serving Error: RESTful server start failed, bind to the socket address {a} failed",
}
NO_UNIX = "Serving Error: RESTful server does not support binding to unix domain socket"
NOT_A_NUMBER = "Serving Error: The type of {tag} address '{a}' port is not a number"
OUT_OF_RANGE = "Serving Error: The port of the {tag} address '{a}' is out of legal range [1 ~ 65535]"
MISSING = "Serving Error: Missing ip or port of the {tag} address '{a}'"
ILLEGAL = "Serving Error: The format of the {tag} address '{a}' is illegal"

# Address: (row, text); no text where the bind fails.
ADDRESSES = {
    "invalid address": ("no-colon", ILLEGAL),
    "127.0.0.1": ("no-colon-ip", ILLEGAL),
    ":5500": ("empty-ip", MISSING),
    "127.0.0.1:": ("empty-port", MISSING),
    "127.0.0.1:port": ("port-no-number", NOT_A_NUMBER),
    "127.0.0.1:5000abc": ("port-suffix", NOT_A_NUMBER),
    "127.0.0.1:5000000": ("port-range", OUT_OF_RANGE),
    "127.0.0.1:0": ("port-0", OUT_OF_RANGE),
    "127.0.0.1:99999999999999999999": ("port-overflow", OUT_OF_RANGE),
    "127.0.0.0.1:5000": ("bind-five-parts", ""),
    "127.0.256.1:5000": ("bind-256", ""),
    "127.0.0.1:5000:5000": ("last-colon", ""),
    "no.such.host.invalid:5000": ("bind-unknown-host", ""),
    "192.0.2.1:5000": ("bind-foreign-ip", ""),
}
UNIX = {
    GRPC: {
        "unix:": ("unix-empty", "Serving Error: Empty grpc server unix domain socket address"),
        "unix:no/such/folder/socket": ("unix-no-folder", FAILED[GRPC]),
    },
    REST: {"unix:": ("unix-empty", NO_UNIX), "unix:socket": ("unix", NO_UNIX)},
}


def runtime(text: str) -> Outcome:
    return "RuntimeError", text


# Each call by its row, and what comes of it.
CALLS: dict[str, tuple[str, Outcome]] = {}
for function in (GRPC, REST):
    for address, (name, text) in {**ADDRESSES, **UNIX[function]}.items():
        shown = (text or FAILED[function]).format(tag=TAGS[function], a=address)
        CALLS[f"3.1-address-{SHORT[function]}-{name}"] = (f"{function}({address!r})", runtime(shown))
    kind = "type of" if function == GRPC else "class of"
    for name, arguments, text in (
        ("address-type", "5500", "Parameter 'address' should be str, but actually <class 'int'>"),
        ("address-empty", "''", "Parameter 'address' should not be empty str"),
        (
            "max_msg_mb_size-0",
            "'127.0.0.1:5500', 0",
            "Parameter 'max_msg_mb_size' should be in range [1,512]",
        ),
        (
            "max_msg_mb_size-513",
            "'127.0.0.1:5500', 513",
            "Parameter 'max_msg_mb_size' should be in range [1,512]",
        ),
        (
            "max_msg_mb_size-bool",
            "'127.0.0.1:5500', True",
            "Parameter 'max_msg_mb_size' should be int, but actually <class 'bool'>",
        ),
        (
            "max_msg_mb_size-float",
            "'127.0.0.1:5500', 1.5",
            "Parameter 'max_msg_mb_size' should be int, but actually <class 'float'>",
        ),
        (
            "ssl_config-type",
            "'127.0.0.1:5500', ssl_config=1",
            f"The type of ssl_config should be {kind} SSLConfig",
        ),
        (
            "ssl_config-class",
            "'127.0.0.1:5500', ssl_config=SSLConfig",
            f"The type of ssl_config should be {kind} SSLConfig",
        ),
    ):
        CALLS[f"3.1-{function}-{name}"] = (f"{function}({arguments})", runtime(text))
for name, arguments, text in (
    (
        "certificate-type",
        "None, 'key'",
        "Parameter 'certificate' should be str, but actually <class 'NoneType'>",
    ),
    ("certificate-empty", "'', 'key'", "Parameter 'certificate' should not be empty str"),
    (
        "private_key-type",
        "'certificate', 1",
        "Parameter 'private_key' should be str, but actually <class 'int'>",
    ),
    ("private_key-empty", "'certificate', ''", "Parameter 'private_key' should not be empty str"),
    (
        "verify_client-type",
        "'certificate', 'key', None, 1",
        "Parameter 'verify_client' should be bool, but actually <class 'int'>",
    ),
    (
        "custom_ca-type",
        "'certificate', 'key', None, True",
        "Parameter 'custom_ca' should be str, but actually <class 'NoneType'>",
    ),
    ("custom_ca-empty", "'certificate', 'key', '', True", "Parameter 'custom_ca' should not be empty str"),
):
    CALLS[f"3.1-SSLConfig-{name}"] = (f"SSLConfig({arguments})", runtime(text))
CALLS["3.1-SSLConfig-custom_ca-ignored"] = ("SSLConfig('certificate', 'key', custom_ca=5)", None)

# Ports; `{taken}` is one on which somebody listens, `{free}` one that is free.
CALLS |= {
    "3.1-bind-fails-grpc": (f"{GRPC}('{{taken}}')", runtime(FAILED[GRPC].format(a="{taken}"))),
    "3.1-bind-fails-rest": (f"{REST}('{{taken}}')", runtime(FAILED[REST].format(a="{taken}"))),
    "3.1-one-port-grpc-first": (f"{GRPC}('{{free}}')", None),
    "3.1-one-port-rest-second": (f"{REST}('{{free}}')", runtime(FAILED[REST].format(a="{free}"))),
    "3.1-one-port-rest-first": (f"{REST}('{{free}}')", None),
    "3.1-one-port-grpc-second": (f"{GRPC}('{{free}}')", runtime(FAILED[GRPC].format(a="{free}"))),
    "3.1-one-port-free-again": (f"{GRPC}('{{free}}')", None),
    "3.1-grpc-twice": (
        f"{GRPC}('{{other}}')",
        runtime("Serving Error: Serving gRPC server is already running"),
    ),
    "3.1-rest-once": (f"{REST}('{{free}}')", None),
    "3.1-rest-twice": (f"{REST}('{{other}}')", runtime("Serving Error: RESTful server is already running")),
    "3.1-stop-nothing-runs": ("(stop(), stop())", None),
}

# Certificates: files of the call, and what gRPC and REST make of them.
LOAD = "Serving Error: load {} from {} failed"
NOT_FOUND = "FileNotFoundError"
CERTIFICATES = {
    "mismatch": ("'{first}', '{second_key}'", "create", ("private_key", "{second_key}")),
    "no-certificate": ("'{missing}', '{first_key}'", NOT_FOUND, ("certificate_chain", "{missing}")),
    "no-key": ("'{first}', '{missing}'", NOT_FOUND, ("private_key", "{missing}")),
    "bad-certificate": ("'{garbage}', '{first_key}'", "create", ("certificate_chain", "{garbage}")),
    "bad-key": ("'{first}', '{garbage}'", "create", ("private_key", "{garbage}")),
    "no-authority": (
        "'{first}', '{first_key}', '{missing}', True",
        NOT_FOUND,
        ("root certificate", "{missing}"),
    ),
    "bad-authority": ("'{first}', '{first_key}', '{garbage}', True", "", ("root certificate", "{garbage}")),
}
MISSING_FILE = "[Errno 2] No such file or directory: '{missing}'"
for name, (arguments, grpc_kind, (what, file)) in CERTIFICATES.items():
    outcome = {
        "create": runtime(FAILED[GRPC].format(a="{free}")),
        NOT_FOUND: (NOT_FOUND, MISSING_FILE),
    }.get(grpc_kind)
    if outcome is not None:  # what gRPC makes of a bad authority is its own affair
        CALLS[f"7.4-grpc-{name}"] = (f"{GRPC}('{{free}}', ssl_config=SSLConfig({arguments}))", outcome)
    CALLS[f"7.4-rest-{name}"] = (
        f"{REST}('{{free}}', ssl_config=SSLConfig({arguments}))",
        runtime(LOAD.format(what, file)),
    )


@dataclass(frozen=True)
class Made:
    """What became of the calls.

    Attributes:
        names: Values of the placeholders in texts.
        found: Outcome of each call.
    """

    names: dict[str, str]
    found: dict[str, Outcome]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Made]:
    folder: Path = tmp_path_factory.mktemp("server_calls")
    first, second = authority.issue("first"), authority.issue("second")
    garbage = folder / "garbage.pem"
    garbage.write_text("-----BEGIN CERTIFICATE-----\ngarbage\n-----END CERTIFICATE-----\n")
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        names = {
            "taken": f"127.0.0.1:{listener.getsockname()[1]}",
            "free": f"127.0.0.1:{free_port()}",
            "other": f"127.0.0.1:{free_port()}",
            "first": first.certificate,
            "first_key": first.private_key,
            "second_key": second.private_key,
            "garbage": str(garbage),
            "missing": str(folder / "missing.pem"),
        }
        calls = {name: filled(call, names) for name, (call, _) in CALLS.items()}
        yield Made(names, outcomes(folder, IMPORTS, calls))


def filled(text: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        text = text.replace("{" + name + "}", value)
    return text


@pytest.mark.parametrize("case", [row(name, name) for name in CALLS])
def test_call(made: Made, case: str) -> None:
    expected, found = CALLS[case][1], made.found[case]
    if expected is None or found is None:
        assert found == expected
        return
    assert found[0] == expected[0]
    assert agrees(case, found[1], filled(expected[1], made.names)), found[1]
