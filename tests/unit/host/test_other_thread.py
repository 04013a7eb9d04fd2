"""Work in another thread, also when the start script has come to its end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from mindspore_serving.server.host.other_thread import in_thread

AFTER_THE_END = """
import asyncio, threading
from mindspore_serving.server.host.other_thread import in_thread

def serve():
    threading.main_thread().join()
    print(asyncio.run(in_thread(lambda: "done")), flush=True)

threading.Thread(target=serve).start()
"""


def test_the_result_comes_from_another_thread() -> None:
    assert asyncio.run(in_thread(threading.get_ident)) != threading.get_ident()


def test_what_is_raised_comes_as_well() -> None:
    def fail() -> None:
        raise ValueError("why")

    with pytest.raises(ValueError, match="why"):
        asyncio.run(in_thread(fail))


def test_who_does_not_wait_any_more_is_not_told() -> None:
    go_on, ended = threading.Event(), threading.Event()

    def work() -> None:
        go_on.wait(20)
        ended.set()

    async def scene() -> None:
        waiting = asyncio.create_task(in_thread(work))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        go_on.set()
        assert ended.wait(20)
        await asyncio.sleep(0)  # what the thread has told comes to nobody

    asyncio.run(scene())


def test_it_is_done_when_the_script_has_ended() -> None:
    ran = subprocess.run([sys.executable, "-c", AFTER_THE_END], capture_output=True, text=True, timeout=60)
    assert (ran.stdout, ran.stderr) == ("done\n", "")
