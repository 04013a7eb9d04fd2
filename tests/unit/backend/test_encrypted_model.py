"""Decryption of model files; tests/mindspore compares it with files that MindSpore itself has encrypted."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend.encrypted_model import (
    WrongKey,
    decrypt,
    mode_of,
    mode_of_file,
)
from tests.support.encryption import MAGIC, encrypted, number

KEY = b"0123456789ABCDEF"
MODES = ["AES-GCM", "AES-CBC"]
PLAIN = bytes(range(100))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("length", [16, 24, 32])
@pytest.mark.parametrize("size", [1, 15, 16, 17, 32, 1000, 100_001])
@pytest.mark.parametrize("block_size", [16, 1000, 64 << 20])
def test_what_was_encrypted_comes_back(mode: str, length: int, size: int, block_size: int) -> None:
    plain, key = os.urandom(size), os.urandom(length)
    assert decrypt(encrypted(plain, key, mode, block_size), key) == plain


@pytest.mark.parametrize("mode", MAGIC)
def test_mode_of_a_file(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "model.mindir"
    path.write_bytes(number(MAGIC[mode]) + PLAIN)
    assert mode_of_file(path) == mode


@pytest.mark.parametrize("content", [b"", b"\xd8\x5e\x3a", b"\x0a\x03" + PLAIN, PLAIN])
def test_plain_files_have_no_mode(content: bytes) -> None:
    assert mode_of(content) is None


def test_mode_of_an_absent_file(tmp_path: Path) -> None:
    with pytest.raises(StartUpError, match=r"absent.mindir': the file cannot be read: No such file"):
        mode_of_file(tmp_path / "absent.mindir")


@pytest.mark.parametrize("key", [KEY[::-1], KEY + KEY[:8], KEY * 2])
def test_another_key(key: bytes) -> None:
    with pytest.raises(WrongKey, match="encrypted with AES-GCM, and dec_key does not decrypt it") as refused:
        decrypt(encrypted(PLAIN, KEY, "AES-GCM"), key)
    assert key.decode() not in str(refused.value)


def test_another_key_in_cbc_mode_is_refused_but_for_a_padding_that_is_right_by_chance() -> None:
    content = encrypted(PLAIN, KEY, "AES-CBC")
    refused = 0
    for _ in range(300):
        try:
            assert decrypt(content, os.urandom(16)) != PLAIN
        except WrongKey:
            refused += 1
    assert refused > 270


def test_every_changed_bit_is_noticed_in_gcm_mode() -> None:
    whole = encrypted(PLAIN, KEY, "AES-GCM", 64)
    second = 48 + 64
    unused = {block + 40 + i for block in (0, second) for i in range(4)}  # of the 16 bytes of the vectors
    for position in set(range(4, len(whole))) - unused:
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        with pytest.raises(StartUpError):
            decrypt(bytes(changed), KEY)


@pytest.mark.parametrize("mode", MODES)
def test_files_that_end_early(mode: str) -> None:
    first = encrypted(PLAIN, KEY, mode)
    whole = first + encrypted(PLAIN, KEY, mode)
    for length in range(4, len(whole)):
        if length == len(first):
            assert decrypt(whole[:length], KEY) == PLAIN
            continue
        begin = len(first) if length > len(first) else 0
        with pytest.raises(StartUpError, match=f"no {mode} block was found at byte {begin} of {length};"):
            decrypt(whole[:length], KEY)


def test_damaged_files_are_decrypted_or_refused() -> None:
    rng = random.Random(9)
    whole = encrypted(PLAIN * 3, KEY, "AES-CBC", 64)
    for _ in range(3000):
        changed = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            changed[rng.randrange(4, len(changed))] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
        with contextlib.suppress(StartUpError):
            decrypt(bytes(changed), KEY)


def test_blocks_of_two_modes() -> None:
    with pytest.raises(StartUpError, match="no AES-CBC block was found at byte"):
        decrypt(encrypted(PLAIN, KEY, "AES-CBC") + encrypted(PLAIN, KEY, "AES-GCM"), KEY)


def test_sm4() -> None:
    with pytest.raises(
        StartUpError, match="encrypted with SM4-CBC, which is not supported, expected AES-GCM or"
    ):
        decrypt(encrypted(PLAIN, KEY, "SM4-CBC"), KEY)


def test_format_without_a_tag() -> None:
    content = encrypted(PLAIN, KEY, "AES-GCM")
    with pytest.raises(StartUpError, match="early release of MindSpore encrypted, export them again"):
        decrypt(content[:4] + content[20:], KEY)


def test_package_that_decrypts_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers", None)
    with pytest.raises(StartUpError, match="install it with: pip install cryptography"):
        decrypt(encrypted(PLAIN, KEY, "AES-GCM"), KEY)


def test_nothing_imports_that_package_before_it_is_needed() -> None:
    source = (
        "import sys\n"
        "import mindspore_serving.client, mindspore_serving.server.start.start_functions\n"
        "import mindspore_serving.server.worker.process\n"
        "import mindspore_serving.server.backend.mindspore.backend\n"
        "print('cryptography' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "False\n"
