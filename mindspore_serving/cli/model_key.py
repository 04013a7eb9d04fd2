"""The key of encrypted models, from where a user keeps it: no text shows it."""

from __future__ import annotations

from pathlib import Path

from mindspore_serving.cli.errors import CommandError
from mindspore_serving.cli.exit_codes import USAGE
from mindspore_serving.errors import InvalidParameter
from mindspore_serving.options import DEC_KEY_LENGTHS, check_dec


def key_in_file(path: str, called: str) -> bytes:
    """The key in a file, without the end of the line that an editor has put behind it.

    Args:
        path: Of the file.
        called: What has named it, for an error.

    Raises:
        CommandError: The file cannot be read.
    """
    try:
        key = Path(path).read_bytes()
    except OSError as cause:
        raise CommandError(f"{called}: {cause}", exit_code=USAGE) from cause
    return key[:-1] if key.endswith(b"\n") and len(key) - 1 in DEC_KEY_LENGTHS else key


def checked_key(path: str, mode: str) -> bytes:
    """The key that a verb's options name, b"" where they name none.

    Args:
        path: Value of `--dec-key-file`.
        mode: Value of `--dec-mode`.

    Raises:
        CommandError: The file cannot be read, or holds no key, or there is no such mode.
    """
    key = key_in_file(path, "--dec-key-file") if path else None
    try:
        check_dec(key, mode)
    except InvalidParameter as error:
        named = (
            str(error).replace("'dec_key'", f"'--dec-key-file' {path}").replace("'dec_mode'", "'--dec-mode'")
        )
        raise CommandError(named, exit_code=USAGE) from error
    return key or b""
