"""API keys: secrets of which each says who a client is, and what it may do."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from mindspore_serving import log
from mindspore_serving.api_key import check_api_key
from mindspore_serving.errors import InvalidParameter
from mindspore_serving.server.access.identity import FORM, Identity, described
from mindspore_serving.server.access.reloaded_files import ReloadedFiles

KeySource: TypeAlias = Sequence[str] | str | os.PathLike[str]
"""The keys themselves, or the path of a file that holds them."""
_DIGITS_IN_NAME = 8
"""Hex digits of a digest that name a key which has no name."""
_MOST_KEYS = 1000
_MOST_FILE_BYTES = 1 << 20
_OPEN_TO_OTHERS = 0o066


class _Key(NamedTuple):
    """A key.

    Attributes:
        digest: Its SHA-256 digest.
        identity: Who shows it.
    """

    digest: bytes
    identity: Identity


class ApiKeys:
    """The keys of one server. Only their SHA-256 digests are kept.

    Args:
        source: Keys, each of 16 to 256 visible ASCII characters, and behind it `[name=NAME] [rights=RIGHT,...]`, where
            a right is `infer`, `view` or `manage`; or the path of a file with that on each line, where empty lines and
            lines that begin with `#` do not count. A file is read again when it has changed. Without rights, a key has
            `infer` and `view`; without a name it is `key-` and the first 8 hex digits of its digest.

    Raises:
        InvalidParameter: The source is neither, holds no key or more than 1000, or one that is none. The text does not
            show what was given, which might be a key.
    """

    def __init__(self, source: object) -> None:
        self._file: ReloadedFiles[tuple[_Key, ...]] | None = None
        if isinstance(source, (str, os.PathLike)):
            where = _where(source)
            path = Path(source).absolute()
            self._file = ReloadedFiles(f"API keys of {path}", (path,), lambda: _keys_in(path, where))
            self._keys = _keys_in(path, where)
        else:
            self._keys = _keys_of(source)

    def __repr__(self) -> str:
        return f"<ApiKeys {len(self._keys)} of {'a file' if self._file else 'a list'}>"

    def identify(self, offered: Iterable[bytes]) -> Identity | None:
        """Whose key one of several values is, None for nobody's; it takes equally long whichever key it is.

        Args:
            offered: What a client has sent.
        """
        if self._file is not None:
            self._keys = self._file.look() or self._keys
        found = -1
        for value in offered:
            digest = hashlib.sha256(value).digest()
            for number, known in enumerate(self._keys):
                same = hmac.compare_digest(digest, known.digest)
                found = max(found, same * (number + 1) - 1)
        return self._keys[found].identity if found >= 0 else None


def _keys_of(source: object) -> tuple[_Key, ...]:
    if not isinstance(source, (list, tuple)):
        raise InvalidParameter(
            "Parameter 'api_keys' should be list or tuple of str, or the path of a file, but actually "
            f"{type(source)}"
        )
    keys = [_key("The item of parameter 'api_keys'", item) for item in source]
    return _checked(keys, "Parameter 'api_keys'")


def _where(source: str | os.PathLike[str]) -> str:
    """Where the file is looked for, to follow an error; a str that may be a key is not shown."""
    path = Path(source)
    is_path = path.parent.is_dir() and path.parent not in (Path(), Path("/"))
    if is_path or isinstance(source, os.PathLike):
        return f" at '{path.absolute()}'"
    return "" if path.is_absolute() else f" in the working directory '{Path.cwd()}'"


def _keys_in(path: Path, where: str) -> tuple[_Key, ...]:
    """The keys of a file; with a warning if others may read or write it."""
    keys = []
    for number, line in enumerate(_content(path, where).splitlines(), 1):
        text = line.strip()
        if text and not text.startswith("#"):
            keys.append(_key(f"Line {number} of the file of parameter 'api_keys'", text))
    return _checked(keys, "The file of parameter 'api_keys'")


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


def _key(place: str, item: object) -> _Key:
    """A key, with what stands behind it."""
    if not isinstance(item, str):
        raise InvalidParameter(f"{place} should be str, but actually {type(item)}")
    secret, name, rights = described(place, item)
    if len(secret.split()) > 1:
        raise InvalidParameter(
            f"{place} should be a key, or KEY {FORM}, but has something else behind the key"
        )
    check_api_key(place, secret)
    digest = hashlib.sha256(secret.encode()).digest()
    return _Key(digest, Identity(name or f"key-{digest.hex()[:_DIGITS_IN_NAME]}", rights))


def _checked(keys: Sequence[_Key], place: str) -> tuple[_Key, ...]:
    if not 1 <= len(keys) <= _MOST_KEYS:
        raise InvalidParameter(f"{place} should hold 1 to {_MOST_KEYS} keys, but actually {len(keys)}")
    different = tuple(dict.fromkeys(keys))
    for digest, count in Counter(key.digest for key in different).items():
        if count > 1:
            names = " and ".join(f"'{key.identity.name}'" for key in different if key.digest == digest)
            raise InvalidParameter(
                f"{place} has one key with two names or rights, as {names}: a key has one of each"
            )
    return different
