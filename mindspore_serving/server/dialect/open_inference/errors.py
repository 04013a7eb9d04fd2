"""What clients of HTTP read of an error."""

from __future__ import annotations

import orjson

from mindspore_serving.errors import Failure
from mindspore_serving.server.service.error_text import text_for_client


def error_body(failure: Failure) -> bytes:
    """What a client of HTTP reads of a failure: `{"error": text}`."""
    return orjson.dumps({"error": text_for_client(failure)})
