"""What stands behind a key or the name of a certificate: a name, and rights."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from mindspore_serving.errors import InvalidParameter
from mindspore_serving.server.access.api_keys import ApiKeys
from mindspore_serving.server.access.guard import Guard
from mindspore_serving.server.access.identity import ANYBODY, STRANGER, Identity, described
from mindspore_serving.server.access.right import Right

KEY = "0123456789-this-is-the-key"
OTHER = "another-key/with=signs#in-it"
UNNAMED = f"key-{hashlib.sha256(KEY.encode()).hexdigest()[:8]}"


def identity_of(line: str) -> Identity:
    found = ApiKeys([line]).identify((KEY.encode(),))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("line", "name", "rights"),
    [
        (KEY, UNNAMED, {Right.INFER, Right.VIEW}),
        (f"{KEY} name=ci", "ci", {Right.INFER, Right.VIEW}),
        (f"{KEY} rights=view", UNNAMED, {Right.VIEW}),
        (f"{KEY}\tname=a@b.c/d:e+f-g_1   rights=infer,view,manage", "a@b.c/d:e+f-g_1", set(Right)),
        (f"{KEY} rights=manage,view name=ops", "ops", {Right.VIEW, Right.MANAGE}),
        (f"{KEY} rights=infer,infer", UNNAMED, {Right.INFER}),
    ],
)
def test_a_key_has_a_name_and_rights(line: str, name: str, rights: set[Right]) -> None:
    assert identity_of(line) == Identity(name, frozenset(rights | {Right.NONE}))


def test_each_key_of_a_file_has_its_own(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# two\n{KEY} name=one\n  {OTHER} rights=view name=two  \n")
    keys = ApiKeys(file)
    names = [found and found.name for found in map(keys.identify, ([OTHER.encode()], [KEY.encode()], [b"x"]))]
    assert names == ["two", "one", None]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (f"{KEY} rights=infer,admin", "has rights='infer,admin', of which 'admin' is none; expected are one or"),
        (f"{KEY} rights=", "has rights='', of which '' is none"),
        (f"{KEY} rights=none", "of which 'none' is none; expected are one or more of infer, view, manage, separated"),
        (f"{KEY} rights=infer, view", "should be a key, or KEY [name=NAME] [rights=infer,view,manage], but has"),
        (f"{KEY} right=view", "should be a key, or KEY [name=NAME] [rights=infer,view,manage], but has"),
        (f"{KEY} name=", "has name='', expected are 1 to 64 letters, digits and any of"),
        (f"{KEY} name={'n' * 65}", "expected are 1 to 64 letters"),
        (f"{KEY} name=a\"b", "expected are 1 to 64 letters"),
        (f"{KEY} name=a name=b", "has 'name=' twice"),
        ("name=a rights=view", "should have 16 to 256 characters"),
    ],
)  # fmt: skip
def test_what_is_refused_behind_a_key(line: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(line)
    for source, place in (
        ([line], "The item of parameter 'api_keys' "),
        (file, "Line 1 of the file of parameter 'api_keys' "),
    ):
        with pytest.raises(InvalidParameter) as raised:
            ApiKeys(source)
        assert str(raised.value).startswith(place)
        assert text in str(raised.value)
        assert "0123456789" not in str(raised.value)


def test_one_key_has_one_name() -> None:
    with pytest.raises(InvalidParameter, match="has one key with two names or rights, as 'a' and 'b'"):
        ApiKeys([f"{KEY} name=a", OTHER, f"{KEY} name=b"])
    assert repr(ApiKeys([f"{KEY} name=a", f"{KEY}  name=a"])) == "<ApiKeys 1 of a list>"


def test_a_certificate_has_rights_and_its_own_name() -> None:
    guard = Guard(None, ["alice", "spiffe://a/b rights=manage", "Bob of Sales"])
    kinds = {"x509_common_name": [b"alice"]}, {"peer_uri": [b"spiffe://a/b"]}, {"peer_dns": [b"Bob of Sales"]}
    assert [guard.identity_in_certificate(context) for context in kinds] == [
        Identity("alice", ANYBODY.rights),
        Identity("spiffe://a/b", frozenset((Right.NONE, Right.MANAGE))),
        Identity("Bob of Sales", ANYBODY.rights),
    ]
    assert guard.identity_in_certificate({"peer_uri": [b"spiffe://a/b rights=manage"]}) is None


def test_who_shows_a_key_is_who_has_the_key_whatever_the_certificate_is() -> None:
    guard = Guard(ApiKeys([f"{KEY} name=ops rights=manage"]), ["alice"])

    class Connection:
        def get_extra_info(self, name: str) -> object:
            return {"peercert": {"subject": ((("commonName", "alice"),),)}}.get(name)

    door = guard.door(Connection(), lambda verb, target: False)  # type: ignore[arg-type]
    for fields, name in (
        ({}, "alice"),
        ({b"x-api-key": KEY.encode()}, "ops"),
        ({b"x-api-key": b"wrong"}, "alice"),
    ):
        found = door.identify(fields)
        assert found is not None
        assert found.name == name


def test_a_refusal_says_what_is_missing_and_what_to_do() -> None:
    assert Identity("ci", frozenset((Right.NONE, Right.INFER, Right.VIEW))).refusal(Right.MANAGE) == (
        "Not allowed, this needs the right 'manage', but 'ci' has only 'infer', 'view': use a key that has it, or add "
        "it to its rights"
    )
    assert ANYBODY.refusal(Right.MANAGE) == (
        "Not allowed, this needs the right 'manage', which only API keys and client certificates can have: this server "
        "asks for none"
    )


def test_nobody_may_manage_without_a_key() -> None:
    assert STRANGER.rights == {Right.NONE}
    assert ANYBODY.rights == {Right.NONE, Right.INFER, Right.VIEW}


def test_a_name_without_anything_behind_it_stays_as_it_is() -> None:
    assert described("a name", "rights=view").subject == "rights=view"  # the name of a certificate may be so
