"""Lines that a thread writes: in order, bounded, and never in the way of who has them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from mindspore_serving.line_writer import LineFile, LineWriter, wait_until_writable, write_to_pipe

TIMEOUT_S = 20.0


class Sink:
    """Where lines go; may hang, or fail."""

    def __init__(self) -> None:
        self.data = b""
        self.calls = 0
        self.free = threading.Event()
        self.free.set()
        self.reached = threading.Event()
        self.error: OSError | None = None

    def write(self, lines: bytes) -> None:
        self.calls += 1
        self.reached.set()
        assert self.free.wait(TIMEOUT_S)
        if self.error is not None:
            raise self.error
        self.data += lines


def lost(count: int) -> bytes:
    return b"lost %d\n" % count


def test_lines_are_written_in_order() -> None:
    sink = Sink()
    writer = LineWriter(sink.write, lost)
    assert writer.is_idle
    for number in range(1000):
        writer.put(b"%d\n" % number)
    assert writer.flush(TIMEOUT_S)
    assert sink.data == b"".join(b"%d\n" % number for number in range(1000))
    writer.put(b"end\n")
    writer.close(TIMEOUT_S)
    assert sink.data.endswith(b"end\n")
    assert writer.is_idle


def test_nobody_waits_for_a_sink_that_hangs() -> None:
    """The oldest lines are lost, and the first line after that says how many."""
    sink = Sink()
    sink.free.clear()
    writer = LineWriter(sink.write, lost, most_bytes=30)
    writer.put(b"first line\n")
    assert sink.reached.wait(TIMEOUT_S)
    for number in range(100, 150):
        writer.put(b"line %d\n" % number)  # 9 bytes
    assert not writer.is_idle
    assert not writer.flush(0.01)
    sink.free.set()
    assert writer.flush(TIMEOUT_S)
    assert sink.data == b"first line\nlost 47\nline 147\nline 148\nline 149\n"
    writer.put(b"next\n")
    writer.close(TIMEOUT_S)
    assert sink.data.endswith(b"149\nnext\n")


def test_a_line_longer_than_the_room_is_written_alone() -> None:
    sink = Sink()
    writer = LineWriter(sink.write, lost, most_bytes=3)
    writer.put(b"a longer line\n")
    writer.close(TIMEOUT_S)
    assert sink.data == b"a longer line\n"


def test_lines_of_a_write_that_fails_are_lost_and_counted() -> None:
    sink = Sink()
    sink.error = OSError("no space left")
    errors: list[OSError] = []
    told = threading.Event()

    def note(error: OSError) -> None:
        errors.append(error)
        told.set()

    writer = LineWriter(sink.write, lost, on_error=note)
    writer.put(b"one\n")
    assert told.wait(TIMEOUT_S)
    sink.error = None
    writer.put(b"two\n")
    writer.close(TIMEOUT_S)
    assert sink.data == b"lost 1\ntwo\n"
    assert [str(error) for error in errors] == ["no space left"]


def test_close_does_not_wait_for_ever() -> None:
    sink = Sink()
    sink.free.clear()
    writer = LineWriter(sink.write, lost)
    writer.put(b"one\n")
    writer.close(0.01)
    assert not writer.is_idle
    writer.put(b"after it\n")
    sink.free.set()
    writer.close(TIMEOUT_S)
    assert sink.data == b"one\n"


def test_a_nudge_writes_nothing_and_says_so() -> None:
    sink = Sink()
    writer = LineWriter(sink.write, lost)
    writer.nudge()
    assert sink.reached.wait(TIMEOUT_S)
    writer.put(b"one\n")
    writer.close(TIMEOUT_S)
    assert sink.data == b"one\n"


def test_a_file_that_was_moved_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = LineFile(str(path))
    assert path.stat().st_mode & 0o007 == 0
    file.write(b"one\n")
    path.rename(tmp_path / "log.1")
    file.write(b"two\n")
    assert path.read_bytes() == b"two\n"
    (tmp_path / "log").unlink()
    path.symlink_to("elsewhere")  # cannot be opened: it goes on where it is
    file.write(b"three\n")
    file.close()
    file.close()
    assert (tmp_path / "log.1").read_bytes() == b"one\n"
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="a directory"):
        LineFile(str(tmp_path))


@pytest.mark.parametrize("blocking", [True, False])
def test_a_pipe_gets_whole_lines(blocking: bool) -> None:
    """Also one that does not block, because its reader has made it so."""
    reads, writes = os.pipe()
    os.set_blocking(writes, blocking)
    lines = b"".join(b"%d %b\n" % (number, b"x" * (number % 5000)) for number in range(400))
    writer = threading.Thread(target=write_to_pipe, args=(writes, lines))
    writer.start()
    got = b""
    while len(got) < len(lines):
        got += os.read(reads, 1 << 16)
    writer.join(TIMEOUT_S)
    assert got == lines
    while wait_until_writable(writes, 0):
        os.write(writes, b"x" * 4096)
    assert not wait_until_writable(writes, 0.01)
    os.close(reads)
    with pytest.raises(BrokenPipeError):
        write_to_pipe(writes, b"nobody reads\n")
    os.close(writes)
