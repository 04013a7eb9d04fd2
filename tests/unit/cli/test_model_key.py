"""The key of encrypted models, as the options of verbs name it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from mindspore_serving.cli.errors import CommandError
from mindspore_serving.cli.exit_codes import USAGE
from mindspore_serving.cli.model_key import checked_key
from mindspore_serving.cli.starting.texts import Encryption, Plan, server_text
from mindspore_serving.cli.trial.jobs import Job, ModelFound

KEY = b"0123456789abcdef"


def key_file(folder: Path, content: bytes) -> str:
    path = folder / "the key"
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize("content", [KEY, KEY + b"\n", KEY[:-1] + b"\n"])
def test_an_end_of_line_is_no_part_of_a_key_unless_it_has_to_be(tmp_path: Path, content: bytes) -> None:
    assert checked_key(key_file(tmp_path, content), "AES-CBC") == content[:16]


def test_no_file_is_no_key() -> None:
    assert checked_key("", "AES-GCM") == b""


@pytest.mark.parametrize(
    ("content", "mode", "expected"),
    [
        (KEY[:5], "AES-GCM", r"^Parameter '--dec-key-file' .*the key length 5 expected to be 16, 24 or 32$"),
        (KEY, "AES-ECB", r"^Parameter '--dec-mode' expected to be 'AES-GCM' or 'AES-CBC'$"),
        (None, "AES-GCM", r"^--dec-key-file: \[Errno 2\] No such file or directory: '.*nowhere'$"),
    ],
)
def test_what_is_no_key(tmp_path: Path, content: bytes | None, mode: str, expected: str) -> None:
    path = str(tmp_path / "nowhere") if content is None else key_file(tmp_path, content)
    with pytest.raises(CommandError, match=expected) as raised:
        checked_key(path, mode)
    assert raised.value.exit_code == USAGE


def test_a_job_takes_the_key_along_and_does_not_show_it() -> None:
    job = Job("net.mindir", dec_key=KEY.hex(), dec_mode="AES-CBC")
    assert Job.from_json(job.to_json()) == job
    assert KEY.hex() not in repr(job)


@pytest.mark.parametrize("encrypted", [False, True])
def test_the_start_script_that_init_writes(tmp_path: Path, encrypted: bool) -> None:
    path = key_file(tmp_path, KEY + b"\n")
    model = ModelFound("net.mindir", "mindspore_mindir", True, True, 64, [], [])
    encryption = Encryption(path, len(KEY), "AES-CBC") if encrypted else None
    text = server_text(Plan("net", "net.mindir", "mindir", model, [], [], encryption))
    [call] = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "server.ServableStartConfig"
    ]
    given = {one.arg: ast.unparse(one.value) for one in call.keywords}
    if not encrypted:
        assert given == {"device_ids": "0"}
        assert "Path" not in text
        return
    assert encryption is not None
    assert encryption.options == f"--dec-key-file '{path}' --dec-mode AES-CBC"
    assert given["dec_mode"] == "'AES-CBC'"
    [constant] = [line for line in text.splitlines() if line.startswith("KEY_FILE")]
    names: dict[str, object] = {"Path": Path}
    exec(f"{constant}\nkey = {given['dec_key']}", names)
    assert names["key"] == KEY
    assert KEY.decode() not in text
