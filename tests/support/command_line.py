"""Runs verbs of the command line in this process, as a user types them, and looks at what they print."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Any

import pytest
from rich.console import Console

from mindspore_serving.cli import app, output

WIDTH = 200


@dataclass(frozen=True)
class Ended:
    """How a verb has ended.

    Attributes:
        code: Its exit code.
        out: What it has printed on stdout.
        err: What it has printed on stderr.
    """

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document on stdout, and nothing else there."""
        return json.loads(self.out)


class Terminal:
    """Types commands.

    Args:
        capture: Of pytest.
        patch: Of pytest.
    """

    def __init__(self, capture: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self._capture = capture
        self._patch = patch

    def type(self, command: str, *more: str) -> Ended:
        """Run a verb.

        Args:
            command: Words of a shell, without the program's name.
            more: Words that need no quotes.
        """
        self._patch.setattr("sys.argv", ["mindspore-serving", *shlex.split(command), *more])
        for name in ("out", "err"):
            console: Console = getattr(output, name)
            self._patch.setattr(console, "_width", WIDTH)
        self._capture.readouterr()
        with pytest.raises(SystemExit) as ended:
            app.main()
        printed = self._capture.readouterr()
        code = ended.value.code
        return Ended(code if isinstance(code, int) else int(bool(code)), printed.out, printed.err)
