"""The Python environment of the other servers: their requirements are not ours."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
import venv
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_REQUIREMENTS = _HERE / "requirements.txt"
_FOLDER = _HERE / ".venv"
_STAMP = _FOLDER / "installed.json"
_NEEDED_BY_OUR_SCRIPTS = ("numpy", "orjson")

PYTHON = _FOLDER / "bin" / "python"
"""The Python that has them."""


def install(peers: tuple[str, ...]) -> dict[str, str]:
    """Make the environment, unless that is done already.

    Args:
        peers: Names of packages whose versions stand in requirements.txt.

    Returns:
        Per peer that cannot be installed the reason, in pip's words.
    """
    installed = _installed()
    missing = [peer for peer in peers if peer not in installed]
    if not missing:
        return {}
    if not PYTHON.exists():
        print(f"Making {_FOLDER} ...", flush=True)
        venv.create(_FOLDER, with_pip=True)
    failures = {}
    for peer in missing:
        print(f"Installing {peer} ...", flush=True)
        reason = _pip_install(peer)
        if reason:
            failures[peer] = reason
        else:
            installed.append(peer)
    _STAMP.write_text(json.dumps({"of": _fingerprint(), "installed": installed}) + "\n")
    return failures


def versions() -> dict[str, str]:
    """Version per package, as requirements.txt has them."""
    lines = _REQUIREMENTS.read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def _installed() -> list[str]:
    try:
        stamp = json.loads(_STAMP.read_text())
    except (OSError, ValueError):
        return []
    return list(stamp["installed"]) if stamp["of"] == _fingerprint() else []


def _fingerprint() -> str:
    """What the environment depends on."""
    text = f"{platform.python_version()} {_FOLDER} {_REQUIREMENTS.read_text()}"
    return hashlib.sha256(text.encode()).hexdigest()


def _pip_install(peer: str) -> str:
    """Install one peer; returns why that failed, or nothing."""
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--constraint", str(_REQUIREMENTS)]
    done = subprocess.run(
        [*pip, peer, *_NEEDED_BY_OUR_SCRIPTS],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if not done.returncode:
        return ""
    errors = [line for line in done.stdout.splitlines() if line.startswith("ERROR")]
    return (errors or done.stdout.splitlines() or [f"pip ended with exit code {done.returncode}"])[-1]


if __name__ == "__main__":
    failed = install(tuple(sys.argv[1:]))
    sys.exit("\n".join(f"{peer}: {reason}" for peer, reason in failed.items()) if failed else 0)
