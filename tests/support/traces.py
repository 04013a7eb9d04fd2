"""Looks for a secret wherever a process, a log or a file may show it."""

from __future__ import annotations

import base64
import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

PIPE_SIZE = 1 << 20


def forms_of(secret: bytes) -> dict[str, bytes]:
    """Ways to write a secret, its halves among them: what would be found if somebody wrote it."""
    half = len(secret) // 2
    numbers = [str(byte) for byte in secret]
    return {
        "raw": secret,
        "first half": secret[:half],
        "second half": secret[half:],
        "repr": repr(secret)[2:-1].encode(),
        "hex": secret.hex().encode(),
        "upper hex": secret.hex().upper().encode(),
        "spaced hex": secret.hex(" ").encode(),
        "base64": base64.b64encode(secret).rstrip(b"=")[:-1],
        "url base64": base64.urlsafe_b64encode(secret).rstrip(b"=")[:-1],
        "numbers": ", ".join(numbers).encode(),
        "percent": "".join(f"%{byte:02X}" for byte in secret).encode(),
    }


def traces(secret: bytes, *folders: Path) -> list[str]:
    """Where a form of the secret stands: command lines and environments of all processes, files and their names."""
    forms = forms_of(secret)
    return [
        f"{place}: {name}"
        for place, content in (*_processes(), *_files(folders))
        for name, form in forms.items()
        if form in content
    ]


def traces_in(secret: bytes, text: str) -> list[str]:
    """Forms of the secret that stand in a text."""
    return [name for name, form in forms_of(secret).items() if form in text.encode()]


def traces_in_pipes(secret: bytes, pids: Sequence[int]) -> list[str]:
    """Descriptors of pipes that still hold the secret. What the pipes hold is lost: look at the very end only."""
    found = []
    for pid in pids:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            if secret[:8] in _content_of_pipe(entry):
                found.append(str(entry))
    return found


def pipes_of(pid: int) -> list[str]:
    """Descriptors of pipes that a process has open."""
    return sorted(entry.name for entry in Path(f"/proc/{pid}/fd").iterdir() if _is_pipe(entry))


def descendants(pid: int) -> list[int]:
    """Processes that a process has started, and those that they have."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_bytes().rpartition(b")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found[1:]


def _processes() -> Iterator[tuple[str, bytes]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            for name in ("cmdline", "environ", "comm"):
                with contextlib.suppress(OSError):  # it has ended, or belongs to somebody else
                    yield f"{entry / name}", (entry / name).read_bytes()


def _files(folders: Sequence[Path]) -> Iterator[tuple[str, bytes]]:
    for folder in folders:
        for path in folder.rglob("*"):
            yield f"name {path}", os.fsencode(path.name)
            with contextlib.suppress(OSError):  # it was removed
                if stat.S_ISREG(path.lstat().st_mode):
                    yield str(path), path.read_bytes()


def _is_pipe(entry: Path) -> bool:
    with contextlib.suppress(OSError):  # it was closed
        return str(entry.readlink()).startswith("pipe:")
    return False


def _content_of_pipe(entry: Path) -> bytes:
    with contextlib.suppress(OSError):
        if _is_pipe(entry):
            descriptor = os.open(entry, os.O_RDONLY | os.O_NONBLOCK)
            try:
                return os.read(descriptor, PIPE_SIZE)
            finally:
                os.close(descriptor)
    return b""
