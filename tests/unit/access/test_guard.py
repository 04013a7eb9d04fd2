"""API keys and names of certificates: who is let in, and what is never shown."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mindspore_serving.errors import InvalidParameter
from mindspore_serving.server import SSLConfig
from mindspore_serving.server.access.api_keys import ApiKeys
from mindspore_serving.server.access.guard import Guard, guard_for
from mindspore_serving.server.access.identity import ANYBODY, STRANGER, Identity

KEY = "0123456789-this-is-the-key"
CWD = Path.cwd()
OTHER = "another-key/with=signs#in-it"
CERTIFICATE = {
    "subject": ((("countryName", "XX"),), (("commonName", "alice"),)),
    "subjectAltName": (
        ("DNS", "host.example"),
        ("URI", "spiffe://example/a"),
        ("email", "a@example"),
        ("IP Address", "1.2.3.4"),
    ),
}


class Transport(asyncio.BaseTransport):
    """A connection with a client certificate, or without."""

    def __init__(self, certificate: Any = None) -> None:
        super().__init__({"peername": ("1.2.3.4", 5), "peercert": certificate})


def open_to_all(verb: bytes, target: bytes) -> bool:
    return (verb, target) == (b"GET", b"/open")


@pytest.fixture
def guard() -> Guard:
    return Guard(ApiKeys([KEY, OTHER]), ())


# --- Keys ---


@pytest.mark.parametrize(
    ("fields", "admitted"),
    [
        ({b"authorization": b"Bearer " + KEY.encode()}, True),
        ({b"authorization": b"bearer   " + OTHER.encode() + b" "}, True),
        ({b"x-api-key": KEY.encode()}, True),
        ({b"x-api-key": OTHER.encode() + b" "}, True),
        ({b"authorization": b"Basic abc", b"x-api-key": KEY.encode()}, True),
        ({b"authorization": b"Bearer " + KEY.encode(), b"x-api-key": b"wrong"}, True),
        ({}, False),
        ({b"authorization": b""}, False),
        ({b"authorization": KEY.encode()}, False),
        ({b"authorization": b"Basic " + KEY.encode()}, False),
        ({b"authorization": b"Bearer"}, False),
        ({b"authorization": b"Bearer " + KEY.encode()[:-1]}, False),
        ({b"authorization": b"Bearer " + KEY.upper().encode()}, False),
        ({b"authorization": b"Bearer " + KEY.encode() + b", Bearer " + KEY.encode()}, False),
        ({b"x-api-key": b"Bearer " + KEY.encode()}, False),
        ({b"x-api-key": b"\xff" * 1000}, False),
    ],
)
def test_which_headers_let_in(guard: Guard, fields: dict[bytes, bytes], admitted: bool) -> None:
    assert (guard.identity_in_fields(fields) is not None) == admitted
    metadata = [(name.decode(), value.decode("latin-1")) for name, value in fields.items()]
    assert (guard.identity_in_metadata(metadata) is not None) == admitted


def test_binary_metadata_is_no_key(guard: Guard) -> None:
    assert not guard.identity_in_metadata([("x-api-key-bin", KEY.encode()), ("x-api-key", KEY.encode())])


def test_every_key_is_compared_whichever_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(other)
        return one == other

    keys = ApiKeys([KEY, OTHER])
    monkeypatch.setattr("hmac.compare_digest", compare)
    counts = []
    for offered in (KEY, OTHER, "neither"):
        compared.clear()
        keys.identify((offered.encode(), b""))
        counts.append(len(compared))
    assert counts == [4, 4, 4]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ([], "Parameter 'api_keys' should hold 1 to 1000 keys, but actually 0"),
        ([f"{KEY}{i}" for i in range(1001)], "should hold 1 to 1000 keys, but actually 1001"),
        (
            ["0123456789abcde"],
            "The item of parameter 'api_keys' should have 16 to 256 characters, but actually has 15",
        ),
        ([KEY, "x" * 257], "should have 16 to 256 characters, but actually has 257"),
        ([KEY + " "], "should have visible ASCII characters only"),
        ([KEY + "ä"], "should have visible ASCII characters only"),
        ([KEY.encode()], "The item of parameter 'api_keys' should be str, but actually <class 'bytes'>"),
        (
            5,
            "Parameter 'api_keys' should be list or tuple of str, or the path of a file, but actually <class 'int'>",
        ),
        (
            KEY,
            f"The file of parameter 'api_keys' cannot be read: there is no such file in the working directory '{CWD}'.",
        ),
        (f"/{KEY}", "The file of parameter 'api_keys' cannot be read: there is no such file. A str"),
        (f"keys/{KEY}", f"there is no such file in the working directory '{CWD}'. A str"),
        (f"{CWD}/keys", f"there is no such file at '{CWD}/keys'. A str"),
        ("tests/keys", f"there is no such file at '{CWD}/tests/keys'. A str"),
        (Path("keys"), f"there is no such file at '{CWD}/keys'. A str"),
        (KEY + "\0", "The file of parameter 'api_keys' cannot be read: "),
    ],
)
def test_keys_that_are_refused(source: Any, text: str) -> None:
    with pytest.raises(InvalidParameter) as raised:
        ApiKeys(source)
    assert text in str(raised.value)
    assert "0123456789" not in f"{raised.value!r}"
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "The file of parameter 'api_keys' should hold 1 to 1000 keys, but actually 0"),
        ("# nothing\n\n", "should hold 1 to 1000 keys, but actually 0"),
        (f"# a key\n{KEY}\n0123456789\n", "Line 3 of the file of parameter 'api_keys' should have 16 to 256"),
        (f"{KEY} {OTHER}\n", "Line 1 of the file of parameter 'api_keys' should be a key, or KEY [name="),
        (f"{KEY}\n" * 50_000, "should have up to 1048576 bytes"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, content: str, text: str) -> None:
    file = tmp_path / "keys"
    file.write_text(content)
    with pytest.raises(InvalidParameter) as raised:
        ApiKeys(file)
    assert text in str(raised.value)
    assert "0123456789" not in str(raised.value)


def test_a_file_has_a_key_on_each_line(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# of the first client\n{KEY}\n\n  {OTHER}\r\n{KEY}")
    keys = ApiKeys(str(file))
    assert repr(keys) == "<ApiKeys 2 of a file>"
    assert keys.identify((KEY.encode(),))
    assert keys.identify((OTHER.encode(),))
    assert not keys.identify((b"# of the first client", b""))


@pytest.mark.parametrize(("mode", "warned"), [(0o600, 0), (0o400, 0), (0o640, 1), (0o604, 1), (0o620, 1)])
def test_a_file_that_is_open_to_others_is_warned_of(
    tmp_path: Path, mode: int, warned: int, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "keys"
    file.write_text(KEY)
    file.chmod(mode)
    ApiKeys(file)
    output = capsys.readouterr().err
    assert output.count(f"is open to other users (mode {mode:04o}): give it the mode 0600") == warned
    assert KEY not in output


def test_no_text_of_an_object_shows_its_keys(guard: Guard) -> None:
    assert guard.identity_in_fields({b"x-api-key": KEY.encode()})
    for holder in (guard, ApiKeys([KEY]), guard.door(Transport(), open_to_all)):
        assert "0123456789" not in f"{holder!r} {holder}"
    assert KEY not in str(vars(ApiKeys([KEY])))


# --- Certificates ---


@pytest.mark.parametrize("name", ["alice", "host.example", "spiffe://example/a", "a@example"])
def test_a_name_of_the_certificate_lets_in(name: str) -> None:
    guard = Guard(None, ["nobody", name])
    identity = guard.door(Transport(CERTIFICATE), open_to_all).identify({})
    assert identity == Identity(name, ANYBODY.rights)
    kind = {"alice": "x509_common_name", "host.example": "peer_dns", "a@example": "peer_email"}.get(
        name, "peer_uri"
    )
    assert guard.identity_in_certificate({kind: [b"other", name.encode()]})


@pytest.mark.parametrize("name", ["Alice", "alic", "XX", "1.2.3.4", "*.example", "DNS:host.example"])
def test_other_names_do_not(name: str) -> None:
    guard = Guard(None, [name])
    assert guard.door(Transport(CERTIFICATE), open_to_all).identify({}) is None
    assert not guard.identity_in_certificate(
        {"x509_common_name": [b"alice"], "peer_ip": [name.encode()], "x509_subject": [name.encode()]}
    )


@pytest.mark.parametrize("certificate", [None, {}, {"subject": ()}])
def test_without_a_certificate_a_key_is_asked_for(certificate: Any) -> None:
    door = Guard(ApiKeys([KEY]), ["alice"]).door(Transport(certificate), open_to_all)
    assert door.admit(b"POST", b"/model/a:b", {}) is None
    assert door.identify({b"x-api-key": KEY.encode()})


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"client_identities": ["a"]}, "needs verify_client=True and custom_ca"),
        (
            {"client_identities": [], "custom_ca": "ca", "verify_client": True},
            "should hold at least one name",
        ),
        ({"client_identities": [1], "custom_ca": "ca", "verify_client": True}, "should be str"),
        (
            {"client_identities": 5, "custom_ca": "ca", "verify_client": True},
            "should be str or tuple/list of str",
        ),
    ],
)
def test_identities_that_are_refused(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidParameter, match="client_identities") as raised:
        SSLConfig("certificate", "key", **arguments)
    assert text in str(raised.value)


# --- What is decided before a body is read ---


@pytest.mark.parametrize(
    ("fields", "admitted"),
    [
        ({}, True),
        ({b"content-length": b"0"}, True),
        ({b"content-length": b"00"}, True),
        ({b"content-length": b"10"}, False),
        ({b"content-length": b"1"}, False),
        ({b"transfer-encoding": b"chunked"}, False),
    ],
)
def test_what_is_open_to_all_needs_no_key_unless_it_has_a_body(
    guard: Guard, fields: dict[bytes, bytes], admitted: bool
) -> None:
    door = guard.door(Transport(), open_to_all)
    assert door.identify({}) is None
    assert (door.admit(b"GET", b"/open", fields) is STRANGER) == admitted
    assert door.admit(b"POST", b"/open", fields) is None
    assert door.admit(b"GET", b"/other", fields) is None


def test_refusals_are_logged_with_their_number_but_not_each(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    guard = Guard(ApiKeys([KEY]), (), lambda: now)
    for second in range(25):
        now = float(second)
        guard.note_refusal(f"10.0.0.{second}")
    assert guard.rejected == 25
    lines = [line for line in capsys.readouterr().err.splitlines() if "were not let in" in line]
    assert [line.partition("] ")[2].partition("] ")[2] for line in lines] == [
        "1 requests were not let in, the last one of 10.0.0.0",
        "10 requests were not let in, the last one of 10.0.0.10",
        "10 requests were not let in, the last one of 10.0.0.20",
    ]


@pytest.mark.parametrize(
    ("address", "tls", "warned"),
    [
        ("127.0.0.1:1500", False, 0),
        ("[::1]:1500", False, 0),
        ("localhost:1500", False, 0),
        ("unix:/tmp/a", False, 0),
        ("0.0.0.0:1500", False, 1),
        ("0.0.0.0:1500", True, 0),
    ],
)
def test_keys_without_tls_are_warned_of(
    address: str, tls: bool, warned: int, capsys: pytest.CaptureFixture[str]
) -> None:
    guard_for(address, [KEY], SSLConfig("certificate", "key") if tls else None)
    assert capsys.readouterr().err.count("without TLS: whoever listens on the way can read them") == warned


def test_without_keys_and_identities_there_is_no_guard() -> None:
    assert guard_for("0.0.0.0:1500", None, SSLConfig("certificate", "key")) is None
    assert guard_for("0.0.0.0:1500", None, None) is None
