"""A process of a benchmark that answers each line of JSON with one."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]


class AskedProcess:
    """One process, started.

    Args:
        arguments: Its module, and what the module takes.
    """

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **request: object) -> dict[str, Any]:
        """Send a request; returns the answer, whatever libraries print before it.

        Raises:
            RuntimeError: The process has ended.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        for line in self._process.stdout:
            with contextlib.suppress(ValueError):
                return dict(json.loads(line))
        raise RuntimeError(f"a process of the benchmark ended with exit status {self._process.wait()}")

    def stop(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
