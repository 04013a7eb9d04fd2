"""Encrypts as MindSpore does, for tests that need neither MindSpore nor large files."""

from __future__ import annotations

import os

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

MAGIC = {"AES-GCM": 0x7F3A5ED8, "AES-CBC": 0x7F3A5ED9, "SM4-CBC": 0x7F3A5EDA}


def number(value: int) -> bytes:
    return value.to_bytes(4, "little")


def encrypted(plain: bytes, key: bytes, mode: str, block_size: int = 64 << 20) -> bytes:
    """A file of blocks that hold `block_size` bytes of the plain file each."""
    starts = range(0, len(plain), block_size)
    return b"".join(_block(plain[start : start + block_size], key, mode) for start in starts)


def _block(plain: bytes, key: bytes, mode: str) -> bytes:
    vector, tag = os.urandom(16), b""
    if mode == "AES-GCM":
        encryptor = Cipher(algorithms.AES(key), modes.GCM(vector[:12])).encryptor()
        text = encryptor.update(plain) + encryptor.finalize()
        tag = encryptor.tag
    else:
        padder = PKCS7(128).padder()
        encryptor = Cipher(algorithms.AES(key), modes.CBC(vector)).encryptor()
        text = encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()
    body = number(len(vector)) + vector + number(len(text)) + text
    return number(MAGIC[mode]) + tag + number(len(body)) + body
