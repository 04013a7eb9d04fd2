"""API keys: secrets of which any one lets a client in."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

from mindspore_serving import log
from mindspore_serving.api_key import check_api_key
from mindspore_serving.errors import InvalidParameter
from mindspore_serving.server.access.reloaded_files import ReloadedFiles

KeySource: TypeAlias = Sequence[str] | str | os.PathLike[str]
"""The keys themselves, or the path of a file that holds them."""
_MOST_KEYS = 1000
_MOST_FILE_BYTES = 1 << 20
_OPEN_TO_OTHERS = 0o066


class ApiKeys:
    """The keys of one server. Only their SHA-256 digests are kept.

    Args:
        source: Keys, each of 16 to 256 visible ASCII characters; or the path of a file with a key on each line, where
            empty lines and lines that begin with `#` do not count. A file is read again when it has changed.

    Raises:
        InvalidParameter: The source is neither, holds no key or more than 1000, or one that is none. The text does not
            show what was given, which might be a key.
    """

    def __init__(self, source: object) -> None:
        self._file: ReloadedFiles[tuple[bytes, ...]] | None = None
        if isinstance(source, (str, os.PathLike)):
            where = _where(source)
            path = Path(source).absolute()
            self._file = ReloadedFiles(f"API keys of {path}", (path,), lambda: _digests_in(path, where))
            self._digests = _digests_in(path, where)
        else:
            self._digests = _digests_of(source)

    def __repr__(self) -> str:
        return f"<ApiKeys {len(self._digests)} of {'a file' if self._file else 'a list'}>"

    def have(self, offered: Iterable[bytes]) -> bool:
        """Whether one of several values is a key; it takes equally long whichever key it is, or if it is none.

        Args:
            offered: What a client has sent.
        """
        if self._file is not None:
            self._digests = self._file.look() or self._digests
        found = False
        for value in offered:
            digest = hashlib.sha256(value).digest()
            for known in self._digests:
                found |= hmac.compare_digest(digest, known)
        return found


def _digests_of(source: object) -> tuple[bytes, ...]:
    if not isinstance(source, (list, tuple)):
        raise InvalidParameter(
            "Parameter 'api_keys' should be list or tuple of str, or the path of a file, but actually "
            f"{type(source)}"
        )
    for key in source:
        check_api_key("The item of parameter 'api_keys'", key)
    return _digests(source, "Parameter 'api_keys'")


def _where(source: str | os.PathLike[str]) -> str:
    """Where the file is looked for, to follow an error; a str that may be a key is not shown."""
    path = Path(source)
    is_path = path.parent.is_dir() and path.parent not in (Path(), Path("/"))
    if is_path or isinstance(source, os.PathLike):
        return f" at '{path.absolute()}'"
    return "" if path.is_absolute() else f" in the working directory '{Path.cwd()}'"


def _digests_in(path: Path, where: str) -> tuple[bytes, ...]:
    """The keys of a file; with a warning if others may read or write it."""
    keys = []
    for number, line in enumerate(_content(path, where).splitlines(), 1):
        key = line.strip()
        if key and not key.startswith("#"):
            check_api_key(f"Line {number} of the file of parameter 'api_keys'", key)
            keys.append(key)
    return _digests(keys, "The file of parameter 'api_keys'")


def _content(path: Path, where: str) -> str:
    try:
        if not path.is_file():
            raise FileNotFoundError(0, "there is no such file")
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_MOST_FILE_BYTES + 1)
    except (OSError, ValueError) as cause:
        reason = cause.strerror if isinstance(cause, OSError) else "it cannot be a path"
        raise InvalidParameter(
            f"The file of parameter 'api_keys' cannot be read: {reason}{where}. A str is the path of a file with a "
            "key on each line; keys themselves are given as a list"
        ) from None  # the cause would show what was given, which may be a key
    if len(content) > _MOST_FILE_BYTES:
        raise InvalidParameter(f"The file of parameter 'api_keys' should have up to {_MOST_FILE_BYTES} bytes")
    if mode & _OPEN_TO_OTHERS:
        log.warning(
            "The file with API keys %s is open to other users (mode %04o): give it the mode 0600",
            path,
            mode & 0o7777,
        )
    return content.decode("latin-1")


def _digests(keys: Sequence[str], place: str) -> tuple[bytes, ...]:
    if not 1 <= len(keys) <= _MOST_KEYS:
        raise InvalidParameter(f"{place} should hold 1 to {_MOST_KEYS} keys, but actually {len(keys)}")
    return tuple(dict.fromkeys(hashlib.sha256(key.encode()).digest() for key in keys))
