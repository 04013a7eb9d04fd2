"""A file of API keys: each line is a key, or the file is refused without a word of what stands in it."""

from __future__ import annotations

import re

from mindspore_serving.errors import InvalidParameter
from mindspore_serving.server.access.api_keys import ApiKeys
from tests.fuzz.oracle import demand, demand_text, file_with

_KEY = re.compile(rb"[!-~]{16,256}")
_SECRET = re.compile(rb"[0-9A-Za-z]{16,}")


def one_input(data: bytes) -> None:
    """Read a file of keys."""
    try:
        keys = ApiKeys(file_with(data, "api_keys"))
    except InvalidParameter as error:
        text = demand_text(error).encode()
        demand(
            not any(secret in text for secret in _SECRET.findall(data)), "nothing of the file is shown", text
        )
        return
    lines = [line.strip() for line in re.split(rb"[\r\n]", data)]
    for line in lines:
        if line and not line.startswith(b"#") and _KEY.fullmatch(line):
            demand(keys.identify([line]), "a key of the file lets in", line)
    demand(not keys.identify([b"", b"\0" * 16, b"#"]), "nothing else lets in")
