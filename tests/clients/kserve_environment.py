"""The Python environment of KServe's clients, whose requirements are not ours; `.venv/bin/python -m` runs this.

They want an older protobuf and an older psutil than Serving's tests have, and bring pandas and the client of
Kubernetes. The environment is made once, in `share/clients` of the one that runs this: half a gigabyte.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

KSERVE = "kserve==0.21.0"
FOLDER = Path(sys.prefix, "share", "clients", "kserve")
PYTHON = FOLDER / "bin" / "python"
COMMAND = ".venv/bin/python -m tests.clients.kserve_environment"
INSTALLED_WITHIN_S = 600
_STAMP = FOLDER / "stamp"
_IDENTITY = f"{KSERVE} {sys.version}"


def is_made() -> bool:
    """Whether the environment is there, of this release and this Python."""
    return _STAMP.is_file() and _STAMP.read_text(encoding="utf-8") == _IDENTITY


def make() -> bool:
    """Make the environment unless it is there; returns whether it is then."""
    if is_made():
        return True
    venv.create(FOLDER, clear=True, symlinks=True, with_pip=False)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "--timeout=10",
        "--retries=1",
    ]
    command = [*pip, "--python", str(PYTHON), "install", "-qq", "--only-binary=:all:", KSERVE]
    try:
        if subprocess.run(command, timeout=INSTALLED_WITHIN_S, check=False).returncode:
            return False
    except subprocess.TimeoutExpired:
        print(f"not installed within {INSTALLED_WITHIN_S} s: {KSERVE}")
        return False
    _STAMP.write_text(_IDENTITY, encoding="utf-8")
    return True


if __name__ == "__main__":
    sys.exit(0 if make() else f"{KSERVE} could not be installed in {FOLDER}")
