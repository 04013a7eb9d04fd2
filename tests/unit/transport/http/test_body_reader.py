"""The owner of the process that reads large bodies, with processes that do what they should not."""

from __future__ import annotations

import asyncio
import gzip
import os
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import psutil
import pytest

from mindspore_serving.errors import QueueFull, ServerStopping, SystemFailure
from mindspore_serving.server.transport.http import body_reader
from mindspore_serving.server.transport.http.body_process import TITLE
from mindspore_serving.server.transport.http.body_reader import BodyError, BodyReader
from mindspore_serving.server.transport.http.signs_of_life import SignsOfLife, processor_seconds
from mindspore_serving.server.transport.http_routes import BodyContent
from mindspore_serving.server.transport.unfinished_bodies import UnfinishedBodies
from mindspore_serving.tensor import DataType
from tests.unit.transport.http.body_reading import instances_and_argument, length

BODY = b'{"instances": [{"x": [1, 2]}, {"x": [3, 4]}]}'
LIMIT_S = 30.0
ENDED = os.WEXITED | os.WNOHANG | os.WNOWAIT

ENDS = """\
import sys
with open({log!r}, "a") as log:
    print("started", file=log)
sys.exit(7)
"""
SENDS_GARBAGE = """\
import socket
import sys
import time
with socket.socket(fileno=int(sys.argv[1].partition("=")[2])) as channel:
    channel.sendall(b"garbage, which is no frame")
    time.sleep(60)
"""
NEVER_ANSWERS = """\
import time
with open({log!r}, "a") as log:
    print("started", file=log)
time.sleep(60)
"""

Scene = Callable[[BodyReader, UnfinishedBodies], Coroutine[Any, Any, None]]


def play(scene: Scene, most_bytes: int = 1 << 20, silence_s: float = 20) -> None:
    """Run a scene with a reader, and check that nothing is left of it."""

    async def whole() -> None:
        unfinished = UnfinishedBodies(most_bytes)
        reader = BodyReader(1 << 20, unfinished, silence_s)
        try:
            await asyncio.wait_for(scene(reader, unfinished), LIMIT_S)
        finally:
            await reader.stop()
        assert repr(unfinished) == f"<UnfinishedBodies 0 of {most_bytes} bytes>"

    asyncio.run(whole())
    assert reading_processes() == []


def reading_processes() -> list[psutil.Process]:
    """What reads bodies for this process; tests of others may have left children of it."""
    named = [(child, " ".join(child.cmdline())) for child in psutil.Process().children()]
    return [child for child, line in named if TITLE in line or str(body_reader._SCRIPT) in line]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Makes a source what runs in the process; gives the file that it may write to."""

    def use(source: str) -> Path:
        path, log = tmp_path / "script.py", tmp_path / "log"
        log.touch()
        path.write_text(source.format(log=str(log)))
        monkeypatch.setattr(body_reader, "_SCRIPT", path)
        return log

    return use


def read(reader: BodyReader, body: bytes = BODY) -> asyncio.Future[BodyContent]:
    return reader.read(body, "", instances_and_argument, {"told": 7})


async def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(round(LIMIT_S / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it has not come to that")


def has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, ENDED) is not None


def has_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


async def wait_for_line(log: Path) -> None:
    await wait_until(lambda: bool(log.read_text()))


def test_bodies_are_read_in_order_and_by_one_process() -> None:
    async def scene(reader: BodyReader, unfinished: UnfinishedBodies) -> None:
        futures = [read(reader) for _ in range(5)]
        wrong = read(reader, b"{")
        assert repr(unfinished) == f"<UnfinishedBodies {5 * len(BODY) + 1} of {1 << 20} bytes>"
        for [rows], rest in await asyncio.gather(*futures):
            assert rest == {"told": 7}
            assert rows.count == 2
            [column] = rows.columns
            assert isinstance(column, np.ndarray)
            assert column.tolist() == [[1, 2], [3, 4]]
        with pytest.raises(BodyError, match="Illegal JSON format"):
            await wrong
        assert len(reading_processes()) == 1

    play(scene)


def test_a_body_with_which_two_processes_end_is_given_up(script: Callable[[str], Path]) -> None:
    log = script(ENDS)

    async def scene(reader: BodyReader, _: UnfinishedBodies) -> None:
        for ends in (2, 4):
            with pytest.raises(
                SystemFailure, match=r"could not be read: the process .* ended with exit code 7"
            ):
                await read(reader)
            assert log.read_text().count("started") == ends

    play(scene)


def test_a_process_that_sends_no_frames_is_ended(script: Callable[[str], Path]) -> None:
    script(SENDS_GARBAGE)

    async def scene(reader: BodyReader, _: UnfinishedBodies) -> None:
        with pytest.raises(SystemFailure, match=r"could not be read: the process .* was ended by signal 9"):
            await read(reader)

    play(scene)


def test_a_process_that_takes_too_long_is_ended(
    script: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = script(NEVER_ANSWERS)
    monkeypatch.setattr(body_reader, "_LONGEST_S", 0.5)

    async def scene(reader: BodyReader, _: UnfinishedBodies) -> None:
        with pytest.raises(SystemFailure, match=r"large bodies was ended: it has read one for 0\.5 s"):
            await read(reader)
        assert log.read_text().count("started") <= 1

    play(scene)


def test_a_process_that_is_stopped_is_replaced_and_no_body_is_to_blame() -> None:
    async def scene(reader: BodyReader, _: UnfinishedBodies) -> None:
        await read(reader)
        for _ in range(2):
            [stopped] = reading_processes()
            stopped.suspend()
            futures = [read(reader) for _ in range(3)]
            assert [len(content.rows) for content in await asyncio.gather(*futures)] == [1, 1, 1]
            assert has_gone(stopped)

    play(scene, silence_s=0.5)


def test_a_body_with_which_every_process_does_nothing_is_given_up(
    script: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    script(NEVER_ANSWERS)
    monkeypatch.setattr(body_reader, "_LOOK_S", 0.1)

    async def scene(reader: BodyReader, _: UnfinishedBodies) -> None:
        with pytest.raises(
            SystemFailure, match=r"large bodies showed no sign of life for 0\.1 s and was killed"
        ):
            await read(reader)

    play(scene, silence_s=0.1)


def test_who_works_for_long_is_not_taken_for_stopped() -> None:
    signs = SignsOfLife(3)
    assert [signs.missing(work) for work in (0, 0, 0, 0.01, 0.01, 0.01, 0.02, 0.02, 0.02)] == [False] * 9
    assert [signs.missing(0.02) for _ in range(2)] == [True, True]
    assert processor_seconds(os.getpid()) > 0
    assert processor_seconds(1 << 30) == 0


def test_a_script_that_is_not_there_fails_the_body(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_reader.sys, "executable", "/nowhere/python")

    async def scene(reader: BodyReader, _: UnfinishedBodies) -> None:
        for _ in range(2):
            with pytest.raises(BodyError, match="No such file or directory"):
                await read(reader)

    play(scene)


def test_a_body_that_is_abandoned_is_not_read(script: Callable[[str], Path]) -> None:
    log = script(NEVER_ANSWERS)

    async def scene(reader: BodyReader, unfinished: UnfinishedBodies) -> None:
        futures = [read(reader) for _ in range(3)]
        await wait_for_line(log)
        for future in futures:
            future.cancel()
        await asyncio.sleep(0)
        assert repr(unfinished) == f"<UnfinishedBodies 0 of {1 << 20} bytes>"
        assert repr(reader).startswith("<BodyReader 0 bodies,")

    play(scene)
    assert log.read_text().count("started") == 1


def test_stopping_refuses_what_waits_and_what_comes(script: Callable[[str], Path]) -> None:
    log = script(NEVER_ANSWERS)

    async def scene(reader: BodyReader, _: UnfinishedBodies) -> None:
        first, second = read(reader), read(reader)
        await wait_for_line(log)
        await reader.stop()
        for future in (first, second):
            with pytest.raises(ServerStopping):
                await future
        with pytest.raises(ServerStopping):
            read(reader)

    play(scene)
    assert log.read_text().count("started") == 1


def test_stopping_is_no_reason_for_a_warning(
    script: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    log = script(NEVER_ANSWERS)

    async def scene(reader: BodyReader, _: UnfinishedBodies) -> None:
        future = read(reader)
        await wait_for_line(log)
        await reader.stop()
        with pytest.raises(ServerStopping):
            await future

    play(scene)
    assert "was not read" not in capsys.readouterr().err


def test_a_process_that_ends_with_nothing_to_read_is_let_go(capsys: pytest.CaptureFixture[str]) -> None:
    async def scene(reader: BodyReader, _: UnfinishedBodies) -> None:
        for let_go in (False, True):
            await read(reader)
            [process] = reading_processes()
            reader.check()
            assert reading_processes() == [process]
            process.kill()
            await wait_until(partial(has_ended, process.pid))
            if let_go:
                reader.check()
                assert not process.is_running()
        await read(reader)

    play(scene)
    assert "was not read" not in capsys.readouterr().err


def test_stopping_while_the_process_is_being_started() -> None:
    async def scene(reader: BodyReader, _: UnfinishedBodies) -> None:
        future = read(reader)
        await asyncio.sleep(0)
        await reader.stop()
        with pytest.raises(ServerStopping):
            await future

    play(scene)


def test_very_many_blocks_of_instances() -> None:
    pairs = 40_000

    async def scene(reader: BodyReader, _: UnfinishedBodies) -> None:
        content = await read(
            reader, b'{"instances": [' + b",".join([b'{"x":[1]},{"x":[1,2]}'] * pairs) + b"]}"
        )
        instances = content.rows
        assert [rows.count for rows in instances] == [1] * (2 * pairs)
        assert [rows.specs[0].shape for rows in instances] == [(1,), (2,)] * pairs

    play(scene, 1 << 21)


def test_bodies_beyond_the_room_are_refused() -> None:
    async def scene(reader: BodyReader, _: UnfinishedBodies) -> None:
        first = read(reader)
        with pytest.raises(QueueFull, match=f"bytes of unfinished requests exceed the limit {len(BODY) + 1}"):
            read(reader)
        await first
        await asyncio.sleep(0)
        await read(reader)

    play(scene, len(BODY) + 1)


def test_a_body_for_which_the_process_has_no_memory() -> None:
    large = b'{"instances": [{"x": [' + b"1.5," * (1 << 22) + b"1.5]}]}"

    async def scene(reader: BodyReader, _: UnfinishedBodies) -> None:
        await read(reader)
        [process] = reading_processes()
        assert Path(f"/proc/{process.pid}/oom_score_adj").read_text() == "500\n"
        used = process.memory_full_info().data
        process.rlimit(psutil.RLIMIT_DATA, (used + 4 * len(large), used + 4 * len(large)))
        with pytest.raises(BodyError, match="No memory for the instances of this request") as raised:
            await read(reader, large)
        assert raised.value.failure().status == 503
        await read(reader)
        assert reading_processes() == [process]

    play(scene, 1 << 30)


def test_a_body_may_hold_no_instances_and_its_reader_is_told_what_json_makes_of_the_argument() -> None:
    async def scene(reader: BodyReader, _: UnfinishedBodies) -> None:
        argument = {"names": ("a", "b"), "types": MappingProxyType({"x": DataType.FLOAT32})}
        content = await reader.read(gzip.compress(bytes(1000)), "gzip", length, argument)
        told = {"names": ["a", "b"], "types": {"x": 11}}
        assert content == BodyContent([], {"length": 1000, "argument": told})

    play(scene)


def test_a_function_that_nobody_can_import_is_refused() -> None:
    async def scene(reader: BodyReader, unfinished: UnfinishedBodies) -> None:
        with pytest.raises(ValueError, match="should be a function of a module"):
            reader.read(BODY, "", lambda body, argument: BodyContent([]), None)
        assert unfinished.is_empty

    play(scene)


def test_instances_and_the_document_behind_them_are_told_apart() -> None:
    body = b'{"instances": [{"rest": {"b64": "YWJj"}}, {"rest": {"b64": "ZGVm"}}]}'

    async def scene(reader: BodyReader, _: UnfinishedBodies) -> None:
        content = await read(reader, body)
        assert [rows.columns for rows in content.rows] == [([b"abc", b"def"],)]
        assert content.rest == {"told": 7}

    play(scene)
