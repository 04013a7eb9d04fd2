"""Model files that `mindspore.export(..., enc_key=..., enc_mode=...)` has encrypted, decrypted in memory.

Such a file is a row of blocks; each holds at most 64 MiB of the plain file. In a block stand, one after the other, with
numbers as 4 bytes, little-endian:

| field | what it is |
| --- | --- |
| magic number | tells the mode |
| tag, 16 bytes | in AES-GCM only: proves that key and cipher text belong together |
| length | of what follows in this block |
| length, initialization vector | 16 bytes, of which AES-GCM uses the first 12 |
| length, cipher text | in AES-CBC it is padded to whole units of 16 bytes as PKCS#7 says |

In AES-CBC nothing is proved. Another key mostly gives a wrong padding; whoever parses the result notices the rest.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend.model_file import reading

_GCM, _CBC = "AES-GCM", "AES-CBC"
_MODES = {
    (0x7F3A5ED8).to_bytes(4, "little"): _GCM,
    (0x7F3A5ED9).to_bytes(4, "little"): _CBC,
    (0x7F3A5EDA).to_bytes(4, "little"): "SM4-CBC",
}
_MAGIC_SIZE = 4
_TAG_SIZE = 16
_VECTOR_SIZE = 16
_GCM_VECTOR_SIZE = 12
_UNIT_SIZE = 16
_LENGTH = struct.Struct("<i")


@dataclass(frozen=True, slots=True)
class _Block:
    tag: memoryview
    vector: memoryview
    text: memoryview


def mode_of(content: bytes) -> str | None:
    """How a file is encrypted, `AES-GCM`, `AES-CBC` or `SM4-CBC`; None for a file that is not.

    Args:
        content: The file, or its first four bytes.
    """
    return _MODES.get(content[:_MAGIC_SIZE])


def mode_of_file(path: Path) -> str | None:
    """`mode_of` a file, of which only the beginning is read.

    Raises:
        StartUpError: The file cannot be read.
    """
    with reading(path), path.open("rb") as file:
        return mode_of(file.read(_MAGIC_SIZE))


def decrypt(content: bytes, key: bytes) -> bytes:
    """Decrypt a file in the mode that it tells itself.

    Args:
        content: The file, which begins with a magic number.
        key: 16, 24 or 32 bytes.

    Returns:
        The plain file; in AES-CBC it may be nonsense, where the key was another one.

    Raises:
        WrongKey: The key does not fit, or the file is damaged, which cannot be told apart.
        StartUpError: The mode is not supported, the file is damaged, or the package cryptography is missing.
    """
    mode = mode_of(content)
    if mode not in (_GCM, _CBC):
        raise StartUpError(
            f"the file is encrypted with {mode}, which is not supported, expected {_GCM} or {_CBC}"
        )
    magic = content[:_MAGIC_SIZE]
    plain = [_decrypted(block, key, mode) for block in _blocks(memoryview(content), magic, mode)]
    return b"".join(plain)


class WrongKey(StartUpError):
    """A key that does not decrypt a file.

    Args:
        mode: How the file is encrypted.
    """

    def __init__(self, mode: str | None) -> None:
        super().__init__(
            f"the file is encrypted with {mode}, and dec_key does not decrypt it to a MindIR model: dec_key is another "
            "key than the enc_key of the export, or the file is damaged"
        )


def _blocks(content: memoryview, magic: bytes, mode: str) -> Iterator[_Block]:
    position = 0
    while position < len(content):
        begin = position
        try:
            if content[position : position + _MAGIC_SIZE] != magic:
                raise ValueError
            position += _MAGIC_SIZE
            tag = content[position : position + (_TAG_SIZE if mode == _GCM else 0)]
            position += len(tag)
            body, position = _field(content, position)
            vector, used = _field(body, 0)
            text, used = _field(body, used)
            if used != len(body) or len(vector) != _VECTOR_SIZE or (mode == _CBC and len(text) % _UNIT_SIZE):
                raise ValueError
        except (ValueError, struct.error) as cause:
            raise StartUpError(
                f"the encrypted file is damaged or incomplete, no {mode} block was found at byte {begin} of "
                f"{len(content)}; nor can files be read that an early release of MindSpore encrypted, export them again"
            ) from cause
        yield _Block(tag, vector, text)


def _field(content: memoryview, position: int) -> tuple[memoryview, int]:
    """A field that begins with its length, and where the next one begins.

    Raises:
        ValueError: It is empty, or reaches beyond the end.
        struct.error: There is not even a length.
    """
    [length] = _LENGTH.unpack_from(content, position)
    begin = position + _LENGTH.size
    if not 0 < length <= len(content) - begin:
        raise ValueError
    return content[begin : begin + length], begin + length


def _decrypted(block: _Block, key: bytes, mode: str) -> bytes:
    # Only workers with encrypted models need the package, which takes a while to import.
    try:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
        from cryptography.hazmat.primitives.padding import PKCS7
    except ImportError as cause:
        raise StartUpError(
            "the file is encrypted, and the package cryptography, which decrypts it, cannot be imported; install it "
            "with: pip install cryptography"
        ) from cause
    chosen = (
        modes.GCM(bytes(block.vector[:_GCM_VECTOR_SIZE]), bytes(block.tag))
        if mode == _GCM
        else modes.CBC(bytes(block.vector))
    )
    decryptor = Cipher(algorithms.AES(key), chosen).decryptor()
    try:
        plain = decryptor.update(block.text) + decryptor.finalize()
        if mode == _GCM:
            return plain
        unpadder = PKCS7(8 * _UNIT_SIZE).unpadder()
        return unpadder.update(plain) + unpadder.finalize()
    except (InvalidTag, ValueError):
        raise WrongKey(mode) from None
