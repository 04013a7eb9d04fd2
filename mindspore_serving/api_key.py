"""The form of API keys: secrets that clients send and servers ask for."""

from __future__ import annotations

from mindspore_serving.errors import InvalidParameter

_SHORTEST_KEY = 16
_LONGEST_KEY = 256


def check_api_key(place: str, key: object) -> None:
    """Check that a secret has the form of an API key, which headers of HTTP and gRPC can carry.

    Args:
        place: What the message calls the key; the key itself is never in a message.
        key: What the caller gave.

    Raises:
        InvalidParameter: It is not a str of 16 to 256 visible ASCII characters.
    """
    if not isinstance(key, str):
        raise InvalidParameter(f"{place} should be str, but actually {type(key)}")
    if not _SHORTEST_KEY <= len(key) <= _LONGEST_KEY:
        raise InvalidParameter(
            f"{place} should have {_SHORTEST_KEY} to {_LONGEST_KEY} characters, but actually has {len(key)}"
        )
    if not all("!" <= character <= "~" for character in key):
        raise InvalidParameter(f"{place} should have visible ASCII characters only, but actually has others")
