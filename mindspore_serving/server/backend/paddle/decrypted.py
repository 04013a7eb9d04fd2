"""Encrypted models: what Paddle's `CipherFactory` has encrypted, decrypted in memory.

A file does not tell how it is encrypted. So the program, which is small and known when it is seen, is tried with each
mode, and its parameters follow it. Paddle reads the plain files from memory that has names for as long as it reads.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from mindspore_serving import log
from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend.model_file import reading
from mindspore_serving.server.backend.paddle.library import messages
from mindspore_serving.server.backend.paddle.model_files import ModelFiles

_CIPHERS = {
    "AES-GCM": "AES_GCM_NoPadding",
    "AES-CBC": "AES_CBC_PKCSPadding",
    "AES-CTR": "AES_CTR_NoPadding",
    "AES-ECB": "AES_ECB_PKCSPadding",
}
"""Modes of the server and of Paddle; the third is Paddle's default."""
_BITS = "iv_size : 128\ntag_size : 128\n"


@contextmanager
def decrypted(paddle: Any, files: ModelFiles, key: bytes, mode: str) -> Iterator[ModelFiles]:
    """A context with the plain files of an encrypted model; nothing plain is written to a disk.

    Args:
        paddle: The module.
        files: The encrypted files.
        key: 16, 24 or 32 bytes.
        mode: As `dec_mode` says; it is tried first.

    Yields:
        The plain files, to be read within the context.

    Raises:
        StartUpError: The key does not decrypt them, or each parameter has a file of its own.
    """
    if files.parameters is None:
        raise StartUpError(
            f"Model file '{files.declared}': an encrypted model has all parameters in one file, expected "
            "'__params__' beside it"
        )
    with tempfile.TemporaryDirectory(prefix="serving_") as folder, ExitStack() as memory:
        found, content = _decrypted_program(paddle, files, key, mode)
        if found != mode:
            log.warning(
                "Model file '%s' is encrypted with %s, but dec_mode is '%s'; it is loaded with %s",
                files.declared,
                found,
                mode,
                found,
            )
        program = _in_memory(memory, Path(folder, files.program.name), content)
        parameters = files.parameters
        if parameters.exists():
            content = _decrypted(_cipher(paddle, found), files, parameters, key)
            parameters = _in_memory(memory, Path(folder, parameters.name), content)
        yield replace(files, program=program, parameters=parameters)


def _decrypted_program(paddle: Any, files: ModelFiles, key: bytes, mode: str) -> tuple[str, bytes]:
    """The mode that makes a program of the file, and the program."""
    for one in (mode, *(other for other in _CIPHERS if other != mode)):
        try:
            content = _decrypted(_cipher(paddle, one), files, files.program, key)
        except WrongKey:
            continue
        if _is_program(content, files.is_json):
            return one, content
    raise WrongKey(files, files.program)


class WrongKey(StartUpError):
    """A key that does not decrypt a file.

    Args:
        files: The model.
        path: The file.
    """

    def __init__(self, files: ModelFiles, path: Path) -> None:
        super().__init__(
            f"Model file '{files.declared}': dec_key does not decrypt '{path.name}', tried {', '.join(_CIPHERS)}: it "
            "is another key, or the file is damaged, or not encrypted by Paddle's CipherFactory"
        )


def _decrypted(cipher: Any, files: ModelFiles, path: Path, key: bytes) -> bytes:
    with reading(path):
        content = path.read_bytes()
    try:
        plain: bytes = cipher.decrypt(content, key)
    except Exception as cause:  # Paddle raises what its library for ciphers raises
        raise WrongKey(files, path) from cause
    return plain


def _is_program(content: bytes, is_json: bool) -> bool:
    """Whether bytes are a program: another key or mode gives any bytes."""
    if is_json:
        return content.lstrip()[:1] == b"{" and b'"base_code"' in content
    try:
        return bool(messages().ProgramDesc.FromString(content).blocks)
    except DecodeError:
        return False


def _cipher(paddle: Any, mode: str) -> Any:
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(f"cipher_name : {_CIPHERS[mode]}\n{_BITS}")
        file.flush()
        return paddle.base.core.CipherFactory.create_cipher(file.name)


def _in_memory(memory: ExitStack, link: Path, content: bytes) -> Path:
    """Put content in a file in memory, which lasts as long as `memory`, and give it a name."""
    descriptor = os.memfd_create(link.name)
    memory.callback(os.close, descriptor)
    with os.fdopen(descriptor, "wb", closefd=False) as file:
        file.write(content)
    link.symlink_to(f"/proc/{os.getpid()}/fd/{descriptor}")
    return link
