"""How tests read bodies; the process that reads large ones imports it by its name."""

from __future__ import annotations

from typing import Any

from mindspore_serving.server.dialect.native.json_codec import parse_body, read_instances
from mindspore_serving.server.transport.http_routes import BodyContent, BodyFormat


def instances_and_argument(body: bytes, argument: Any) -> BodyContent:
    """The instances of the native dialect, and what the reader was told."""
    return BodyContent(read_instances(parse_body(body)), argument)


def length(body: bytes, argument: Any) -> BodyContent:
    """No instances, but how long the body is."""
    return BodyContent([], {"length": len(body), "argument": argument})


LENGTH = BodyFormat(length)
