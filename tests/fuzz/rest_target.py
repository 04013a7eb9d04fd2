"""What stands between verb and version of HTTP: the URL grammar, against a second reading of it."""

from __future__ import annotations

import re
from urllib.parse import unquote

from mindspore_serving.errors import InvalidInput
from mindspore_serving.server.dialect.native.rest_url import Target, parse_target
from mindspore_serving.server.transport.http.target import path_of
from tests.fuzz.oracle import demand, demand_text

_PATH = re.compile(r"([^:]*):(.+)", re.DOTALL)
_VERSION = re.compile(r"-0{1,9}|[0-9]{1,10}")  # less than no version is refused, minus zero is zero
_TEXTS = ("please check url, the keyword:[", "please check url, version number range failed")


def one_input(data: bytes) -> None:
    """Read a target."""
    text = data.decode(errors="replace")
    path = path_of(text)
    expected = _expected(path)
    try:
        target = parse_target(path)
    except InvalidInput as error:
        demand(demand_text(error).startswith(_TEXTS), "a refusal is about the URL", error)
        demand(expected is None, "a target that fits the grammar is read", data, expected)
        return
    demand(target == expected, "a target is what the grammar says", target, expected)


def _expected(path: str) -> Target | None:
    found = _PATH.fullmatch(path if ":" in path else re.sub("%3[Aa]", ":", path, count=1))
    words = [unquote(word) for word in re.findall("[^/]+", found[1])] if found else []
    if found is None or not words or len(words) % 2:
        return None
    pairs = dict(zip(words[::2], words[1::2], strict=True))
    version = pairs.get("version", "0")
    if len(pairs) * 2 != len(words) or "model" not in pairs or pairs.keys() - {"model", "version"}:
        return None
    if not _VERSION.fullmatch(version) or int(version) >= 2**32 - 1:
        return None
    return Target(pairs["model"], unquote(found[2]), int(version))
