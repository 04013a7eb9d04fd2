"""Environments of clients whose requirements are not ours; `.venv/bin/python -m tests.clients.environments NAME`.

KServe's clients want an older protobuf and an older psutil than Serving's tests have, and bring pandas and the client
of Kubernetes. Those of Paddle Serving want Python 3.9, and packages that go with that. Each environment is made once,
in `share/clients` of the one that runs this: half a gigabyte for KServe's, a quarter of that for Paddle Serving's.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

INSTALLED_WITHIN_S = 600
_PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input", "--timeout=10", "--retries=1")


@dataclass(frozen=True)
class Environment:
    """An environment.

    Attributes:
        name: Of its folder.
        installs: Arguments of `pip install`, for each run of it.
        find_python: Gives the Python that it is made of, or None where there is none.
    """

    name: str
    installs: Sequence[Sequence[str]]
    find_python: Callable[[], str | None] = lambda: sys.executable

    @property
    def folder(self) -> Path:
        """Where it is."""
        return Path(sys.prefix, "share", "clients", self.name)

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def command(self) -> str:
        """What makes it."""
        return f".venv/bin/python -m {__spec__.name if __name__ == '__main__' else __name__} {self.name}"

    @property
    def is_made(self) -> bool:
        """Whether it is there, with these packages."""
        stamp = self.folder / "stamp"
        return stamp.is_file() and stamp.read_text(encoding="utf-8") == self._identity

    @property
    def _identity(self) -> str:
        return repr([list(one) for one in self.installs])

    def make(self) -> str:
        """Make it unless it is there; returns why that failed, "" where it did not."""
        if self.is_made:
            return ""
        base = self.find_python()
        if base is None:
            return f"the Python of {self.name} is not on this machine"
        runs = [[base, "-m", "venv", "--clear", str(self.folder)]]
        runs += [[str(self.python), *_PIP, "install", "-qq", *one] for one in self.installs]
        for command in runs:
            try:
                if subprocess.run(command, timeout=INSTALLED_WITHIN_S, check=False).returncode:
                    return f"this failed: {' '.join(command)}"
            except subprocess.TimeoutExpired:
                return f"not done within {INSTALLED_WITHIN_S} s: {' '.join(command)}"
        (self.folder / "stamp").write_text(self._identity, encoding="utf-8")
        return ""


def _python_3_9() -> str | None:
    """A Python 3.9 that runs: of the path, or of pyenv."""
    homes = sorted(Path.home().glob(".pyenv/versions/3.9.*/bin/python"))
    for found in (shutil.which("python3.9"), *map(str, homes)):
        command = [found, "-c", "import sys; sys.exit(sys.version_info[:2] != (3, 9))"]
        if found and not subprocess.run(command, capture_output=True, check=False).returncode:
            return found
    return None


KSERVE = Environment("kserve", (("--only-binary=:all:", "kserve==0.21.0"),))
PADDLE_SERVING = Environment(
    "paddle_serving",
    (
        # What its clients import. What its packages require does not install on any Python that is left.
        (
            "protobuf==3.20.3",
            "numpy<1.24",
            *("requests", "grpcio", "pyyaml", "func_timeout", "prometheus_client", "pytest", "six"),
        ),
        ("--no-deps", "paddle-serving-client==0.9.0", "paddle-serving-server==0.9.0"),
    ),
    _python_3_9,
)
ALL = {one.name: one for one in (KSERVE, PADDLE_SERVING)}


def main() -> None:
    """Make the environment that the command line names; ends with status 1 where that fails."""
    if len(sys.argv) != 2 or sys.argv[1] not in ALL:
        sys.exit(f"usage: python -m tests.clients.environments {'|'.join(ALL)}")
    sys.exit(ALL[sys.argv[1]].make() or 0)


if __name__ == "__main__":
    main()
