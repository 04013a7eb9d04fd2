"""The URL grammar of REST."""

from __future__ import annotations

import pytest

from mindspore_serving.errors import InvalidInput
from mindspore_serving.server.dialect.native.rest_url import parse_target
from mindspore_serving.server.transport.http_routes import HttpRequest

NO_MODEL = "please check url, the keyword:[model] must contain."
NO_METHOD = "please check url, the keyword:[service method] must contain."
VERSION_RANGE = "please check url, version number range failed, request version number {}"
VERSION_VALUE = "please check url, the keyword:[version] value invalid, request version number {}"

ACCEPTED = {
    "/model/add:add_common": ("add", "add_common", 0),
    "/model/add/version/1:add_common": ("add", "add_common", 1),
    "/version/1/model/add:add_common": ("add", "add_common", 1),
    "/model/add/version/0:add_common": ("add", "add_common", 0),
    "/model/add/version/4294967294:m": ("add", "m", 4294967294),
    # A keyword inside a name is part of the name.
    "/model/conversion:m": ("conversion", "m", 0),
    "/model/remodel/version/2:m": ("remodel", "m", 2),
    "/model/version:m": ("version", "m", 0),
    "/model/model:m": ("model", "m", 0),
    "/version/3/model/version:m": ("version", "m", 3),
    "/model/add:version": ("add", "version", 0),
    # Percent-encoding.
    "/model/my%20add:add%5Fcommon": ("my add", "add_common", 0),
    "/model/%E5%8A%A0:m": ("加", "m", 0),
    "/model/a%2Fb:m": ("a/b", "m", 0),
    "/model/a%3Ab:m": ("a:b", "m", 0),
    # An encoded colon is one where there is no other.
    "/model/add%3Aadd_common": ("add", "add_common", 0),
    "/model/add%3aadd_common": ("add", "add_common", 0),
    "/model/add/version/1%3Aadd_common": ("add", "add_common", 1),
    "/version/1/model/add%3Aadd_common": ("add", "add_common", 1),
    "/model/add%3Am%3An": ("add", "m:n", 0),
    # The method is all that follows the first colon.
    "/model/add:m:n": ("add", "m:n", 0),
}

REFUSED = {
    "/": NO_MODEL,
    "/:m": NO_MODEL,
    "/model": NO_MODEL,
    "/model:m": NO_MODEL,
    "/model/:m": NO_MODEL,
    "/version/1:m": NO_MODEL,
    "/add:m": NO_MODEL,
    "/models/add:m": NO_MODEL,
    "/model/add": NO_METHOD,
    "/model/add:": NO_METHOD,
    "/model/add/version/1": NO_METHOD,
    "/model/add/version/1:": NO_METHOD,
    "/model/add/version/-1:m": VERSION_RANGE.format("-1"),
    "/model/add/version/4294967295:m": VERSION_RANGE.format("4294967295"),
    "/model/add/version/99999999999999999999999:m": VERSION_RANGE.format("99999999999999999999999"),
    "/version/-1/model/add:m": VERSION_RANGE.format("-1"),
    "/model/add/version/one:m": VERSION_VALUE.format("one"),
    "/model/add/version/1.5:m": VERSION_VALUE.format("1.5"),
    "/model/add/version/:m": VERSION_VALUE.format(""),
    "/model/add/version:m": VERSION_VALUE.format(""),
    "/model/add/version/²:m": VERSION_VALUE.format("²"),
    # The version is looked at before the method.
    "/model/add/version/-1": VERSION_RANGE.format("-1"),
    "/model/add/version/one": VERSION_VALUE.format("one"),
}


@pytest.mark.parametrize(("path", "target"), ACCEPTED.items(), ids=ACCEPTED)
def test_a_url_names_servable_method_and_version(path: str, target: tuple[str, str, int]) -> None:
    assert parse_target(path) == target


@pytest.mark.parametrize(("path", "text"), REFUSED.items(), ids=REFUSED)
def test_a_wrong_url_is_refused_with_the_reason(path: str, text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_target(path)
    assert str(refused.value) == text


@pytest.mark.parametrize(
    "path", ["", "//", "/model//add:m", "/%", "/model/%zz:m", "/model/%ff%fe:m", ":" * 1000]
)
def test_an_odd_url_is_read_or_refused_but_raises_nothing_else(path: str) -> None:
    try:
        parse_target(path)
    except InvalidInput as refused:
        assert str(refused).startswith("please check url")


@pytest.mark.parametrize(
    "target",
    [
        "/model/add:m",
        "/model/add:m?version/9:x",
        "/model/add:m#part?more",
        "http://localhost:5500/model/add:m?a=http://b/c",
        "https://localhost/model/add:m",
    ],
)
def test_a_request_target_is_a_path_or_a_whole_url(target: str) -> None:
    assert parse_target(HttpRequest("POST", target, {}).path) == ("add", "m", 0)


@pytest.mark.parametrize(
    "target", ["", "*", "http://localhost", "localhost:80", "/\udcff\ufffd", "?/model/a:b"]
)
def test_another_request_target_is_refused(target: str) -> None:
    with pytest.raises(InvalidInput, match=r"keyword:\[model\]"):
        parse_target(HttpRequest("POST", target, {}).path)
