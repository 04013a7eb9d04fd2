"""What is wrong with a request as HTTP: aiohttp finds it, here it gets the status and the text that clients know."""

from __future__ import annotations

from typing import Final, NamedTuple

from aiohttp import hdrs
from aiohttp.http import HttpVersion10, HttpVersion11, RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError, InvalidURLError, LineTooLong

from mindspore_serving.errors import excerpt
from mindspore_serving.server.transport.http.answering import TOO_LARGE
from mindspore_serving.server.transport.http.header_fields import HeaderFields
from mindspore_serving.server.transport.http.limits import HttpLimits

BAD_REQUEST: Final = 400
HEAD_TOO_LARGE: Final = 431
VERSION_UNKNOWN: Final = 505
_NO_VERSION = "Invalid HTTP version"
_TEXTS = {
    "Missing 'Host' header in request.": "header Host is missing",
    "Duplicate 'Host' header found.": "more than one header Host",
}
"""By what aiohttp says."""


class Fault(NamedTuple):
    """Why a request is not taken: status of HTTP, and what its client is told."""

    status: int
    text: str


class Refused(Exception):
    """Ends the reading of a body.

    Args:
        fault: Why.
    """

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.text)
        self.fault = fault


def invalid(status: int, text: str) -> Fault:
    """What is not HTTP as it should be."""
    return Fault(status, f"http message invalid, {text}")


def too_large(most_bytes: int) -> Fault:
    """A body that is larger than it may be."""
    return Fault(TOO_LARGE, f"http message is bigger than {most_bytes}")


def head_too_large(limits: HttpLimits) -> Fault:
    """Headers that do not end."""
    return invalid(HEAD_TOO_LARGE, f"headers of more than {limits.head_bytes} bytes")


def fault_of_error(error: HttpProcessingError, limits: HttpLimits) -> Fault:
    """What the parser does not read.

    Args:
        error: Of the parser.
        limits: What the parser was told to read at most.
    """
    if isinstance(error, LineTooLong):
        return head_too_large(limits)
    if error.message == "Too many headers received":
        return invalid(HEAD_TOO_LARGE, f"more than {limits.headers} headers")
    if isinstance(error, InvalidURLError) and "\n" not in error.message:
        return invalid(BAD_REQUEST, f"target {excerpt(error.message)}")
    # Behind the first blank line come the bytes in question, and a line that points at one of them.
    lines = error.message.partition("\n\n")[0].splitlines() or [""]
    reason = lines[-1].strip().removesuffix(":")
    status = VERSION_UNKNOWN if reason == _NO_VERSION else BAD_REQUEST
    return invalid(status, _TEXTS.get(reason) or excerpt(reason))


def fault_of_version(message: RawRequestMessage) -> Fault | None:
    """Whether a request is of a version that is not spoken here; None for no fault."""
    version = message.version
    if version is HttpVersion11 or version in (HttpVersion10, HttpVersion11):
        return None
    return invalid(VERSION_UNKNOWN, f"HTTP version {version.major}.{version.minor} is not supported")


def fault_of_length(message: RawRequestMessage, most_bytes: int) -> Fault | None:
    """What is wrong with the body that a head announces; None for nothing.

    Args:
        message: The head.
        most_bytes: Largest body.
    """
    coding = HeaderFields(message.headers).get(hdrs.TRANSFER_ENCODING)
    if coding is not None:
        # Of what the parser reads as chunks, or as none, others on the way may read some otherwise.
        if coding.strip().lower() == "chunked" and message.version == HttpVersion11:
            return None
        shown = f"{excerpt(coding)}, in HTTP/{message.version.major}.{message.version.minor}"
        return invalid(BAD_REQUEST, f"Transfer-Encoding should be chunked, in HTTP/1.1, but got {shown}")
    length = message.headers.get(hdrs.CONTENT_LENGTH)
    # The parser takes any number of zeros before the first digit, Python does not.
    return None if length is None or int(length.lstrip("0") or "0") <= most_bytes else too_large(most_bytes)
