"""One process of clients, seen from the test."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys

from tests.soak.ledger import LOST_AFTER_S, Totals
from tests.support.serving import REPOSITORY

_END_TIMEOUT_S = 3 * LOST_AFTER_S
_LONGEST_LINE = 1 << 24


class LoadProcess:
    """Clients in a process of their own.

    Attributes:
        totals: What it has reported last.
        problems: What was not as it should be.
    """

    def __init__(self) -> None:
        self.totals = Totals()
        self.problems: list[str] = []
        self._pending = 0
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, number: int, seed: int, clients: int, grpc: str, rest: str) -> None:
        """Start the clients, which begin at once; arguments as those of `tests.soak.load`."""
        arguments = [str(number), str(seed), str(clients), grpc, rest]
        self._process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.soak.load", *arguments),
            cwd=REPOSITORY,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LONGEST_LINE,
        )
        assert process.stdout is not None
        self._reading = asyncio.ensure_future(self._read(process.stdout))

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self._process is not None and self._process.returncode is not None

    async def stop(self) -> None:
        """Let the clients finish what they have under way, and end."""
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.close()
        try:
            status = await asyncio.wait_for(self._process.wait(), _END_TIMEOUT_S)
            await self._reading
        except asyncio.TimeoutError:
            self.problems.append(f"a process of clients had not ended after {_END_TIMEOUT_S:g} s")
            self.kill()
            return
        if status or self._pending:
            self.problems.append(
                f"a process of clients ended with exit status {status} and {self._pending} requests under way"
            )

    def kill(self) -> None:
        """End the process at once, if it lives."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _read(self, stdout: asyncio.StreamReader) -> None:
        async for line in stdout:
            report = json.loads(line)
            self.totals, self._pending = Totals.from_json(report["totals"]), report["pending"]
