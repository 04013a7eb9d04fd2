"""The status of a server again and again, until the user has seen enough."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import threading
import time
import tty
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from mindspore_serving.cli.errors import CommandError
from mindspore_serving.cli.exit_codes import FAILED, NOT_REACHED, OK
from mindspore_serving.cli.watching.source import Asker, Document, Question
from mindspore_serving.cli.watching.tables import clock, whole_status
from mindspore_serving.cli.watching.words import plain, span

_DRAWN_EVERY_S = 0.25
_ENDS = frozenset(b"qQ")
_MOST_KEYS = 64
_JOIN_S = 0.5
"""How long the one who asks is waited for at the end; it may be in the middle of a question."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of the server.

    Attributes:
        document: What it said last; None where it has said nothing so far.
        at: When it said so, in seconds of `time.monotonic`.
        at_unix_s: Likewise, in seconds since 1970.
        problem: Why it says nothing now; None where it does.
    """

    document: Document | None = None
    at: float = 0.0
    at_unix_s: float = 0.0
    problem: CommandError | None = None

    @property
    def exit_code(self) -> int:
        """What the last answer means for scripts."""
        if self.problem is not None:
            return self.problem.exit_code
        if self.document is None:
            return NOT_REACHED
        return OK if self.document.get("ready") else FAILED


class Follower:
    """Asks in a thread of its own: keys are heeded while a server takes its time.

    Args:
        question: What is asked.
        every_s: Seconds between two questions.

    Attributes:
        seen: What is known.
    """

    def __init__(self, question: Question, every_s: float) -> None:
        self.seen = Seen()
        self._asker = Asker(question)
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="serving status", daemon=True)

    def __enter__(self) -> Follower:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(_JOIN_S)

    def _follow(self) -> None:
        while True:
            try:
                document = self._asker.ask()
            except CommandError as problem:
                self.seen = replace(self.seen, problem=problem)
            else:
                self.seen = Seen(document, time.monotonic(), time.time())
            if self._over.wait(self._every_s):
                self._asker.close()
                return


class Keys:
    """Keys of the terminal that standard input is, each heeded at once; none where it is no terminal."""

    def __init__(self) -> None:
        self._earlier: list[Any] | None = None
        self._never = threading.Event()

    def __enter__(self) -> Keys:
        if sys.stdin.isatty():
            self._earlier = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
        return self

    def __exit__(self, *_: object) -> None:
        if self._earlier is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._earlier)

    def ended(self, seconds: float) -> bool:
        """Whether the user has pressed a key that ends, or has gone; after that time at the latest.

        Args:
            seconds: How long a key is waited for.
        """
        if self._earlier is None:
            return self._never.wait(seconds)
        if not select.select([sys.stdin], [], [], seconds)[0]:
            return False
        pressed = os.read(sys.stdin.fileno(), _MOST_KEYS)
        return not pressed or not _ENDS.isdisjoint(pressed)


def watch(out: Console, question: Question, window: str, every_s: float) -> int:
    """Show the status until the user ends it with q or Ctrl+C.

    Args:
        out: A terminal.
        question: What is asked.
        window: Whose figures are shown.
        every_s: Seconds between two questions.

    Returns:
        The exit code of the last answer.
    """
    with (
        Follower(question, every_s) as follower,
        contextlib.suppress(KeyboardInterrupt),
        Keys() as keys,
        Live(console=out, screen=True, auto_refresh=False) as live,
    ):
        while not keys.ended(_DRAWN_EVERY_S):
            live.update(frame(follower.seen, str(question.address), window), refresh=True)
    return follower.seen.exit_code


def frame(seen: Seen, at: str, window: str) -> RenderableType:
    """What is drawn.

    Args:
        seen: What is known of the server.
        at: Its address.
        window: Whose figures are shown.
    """
    parts: list[RenderableType] = []
    if seen.problem is not None:
        parts.append(Text(plain(seen.problem.problem, 400), "bold red"))
        if seen.document is not None:
            parts.append(Text(f"What follows is {span(time.monotonic() - seen.at)} old.", "bold red"))
    if seen.document is not None:
        parts.append(whole_status(seen.document, at, window))
        parts.append(Text(f"{clock(seen.at_unix_s)}; q ends", "dim"))
    elif seen.problem is None:
        parts.append(Text(f"Asking {plain(at)} ...", "dim"))
    return Group(*parts)
