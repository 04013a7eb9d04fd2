"""What a user may set, and what holds where nothing is set."""

from __future__ import annotations

from dataclasses import dataclass

from mindspore_serving.check_type import check_bytes, check_str
from mindspore_serving.errors import InvalidParameter

DEFAULT_SLOTS = 2
"""Batches under way per copy: one that runs, and one that is there when it ends."""
_KEY_LENGTHS = (16, 24, 32)
_DEC_MODES = ("AES-GCM", "AES-CBC")


@dataclass(slots=True)
class Limits:
    """Most that may be pending at a time; 0 stands for no limit.

    Attributes:
        requests: Requests.
        instances: Their instances.
        byte_size: Bytes of the tensors of their instances.
    """

    requests: int = 0
    instances: int = 0
    byte_size: int = 0


def check_dec(dec_key: bytes | None, dec_mode: str) -> None:
    """Check key and mode of encrypted models.

    Raises:
        InvalidParameter: One of them is none.
    """
    if dec_key is not None:
        check_bytes("dec_key", dec_key)
        if len(dec_key) not in _KEY_LENGTHS:
            raise InvalidParameter(f"Parameter 'dec_key' length {len(dec_key)} expected to be 16, 24 or 32")
    check_str("dec_mode", dec_mode)
    if dec_mode not in _DEC_MODES:
        raise InvalidParameter("Parameter 'dec_mode' expected to be 'AES-GCM' or 'AES-CBC'")
