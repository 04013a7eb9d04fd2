"""What the benchmark of system calls reads from strace and perf, and what it makes of it."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.syscalls import Seen, record_of
from benchmarks.tracing import names_of_threads, read_perf, read_strace

_LOG = """\
11 epoll_wait(0x3, 0x7ffc, 0x400, 0x3e8 <unfinished ...>
12 recvmsg(0x9, 0x7f00, 0)        = 0x6a
11 <... epoll_wait resumed>)      = 0x1
12 recvmsg(0x9, 0x7f00, 0)        = -1 EAGAIN (Resource temporarily unavailable)
12 --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED} ---
13 futex(0x1, 0x2, 0x3)           = ?
13 +++ exited with 0 +++
strace: Process 14 attached
"""

_STAT = """\
# started on Mon Nov 30 07:56:00 2026

2001,,context-switches,15.6,100.00,,
<not supported>,,instructions:u,0,100.00,,
90210,,raw_syscalls:sys_enter,15.6,100.00,,
"""


def test_each_call_of_a_log_counts_once() -> None:
    calls = read_strace(_LOG.splitlines(), {11: "main thread", 12: "event_engine"})
    assert calls == {("main thread", "epoll_wait"): 1, ("event_engine", "recvmsg"): 2, ("ended", "futex"): 1}


def test_threads_of_python_are_numbered() -> None:
    threads = {7: "python", 8: "python", 9: "event_engine", 10: "event_engine", 11: "python"}
    assert list(names_of_threads(7, threads).values()) == [
        "main thread",
        "python 1",
        "event_engine",
        "event_engine",
        "python 2",
    ]


def test_events_that_cannot_be_counted_are_left_out() -> None:
    assert read_perf(_STAT.splitlines()) == {"context-switches": 2001, "raw_syscalls:sys_enter": 90210}


def seen(requests: int, counted: int, events: dict[str, int], wrong: int = 0) -> Seen:
    main = Counter({("main thread", "read"): 200, ("python", "read"): 100, ("python", "futex"): 50})
    main["python", "close"] = 1
    workers = Counter({("main thread", "poll"): 100})
    return Seen(requests, {"main": main, "workers": workers}, counted, {"main": events, "workers": {}}, wrong)


def test_a_record_has_what_a_request_costs() -> None:
    turns = [
        seen(100, 10, {"context-switches": 30, "raw_syscalls:sys_enter": 60}),
        seen(300, 10, {"context-switches": 50, "raw_syscalls:sys_enter": 40}, wrong=2),
    ]
    record = record_of("row", 8, "core", "main", turns)
    assert record["calls_per_request"] == {"median": 2.34, "min": 1.17, "max": 3.51}
    assert record["by_call"] == ["read 1.5", "futex 0.25", "close 0.005"]
    assert record["by_thread"] == ["main thread 1", "python 0.755"]
    assert record["context_switches_per_request"]["median"] == 4
    assert record["undisturbed_calls_per_request"]["max"] == 6
    assert "instructions_per_request" not in record
    assert (record["requests"], record["wrong"]) == (400, 2)


def test_replies_count_with_the_main_process_only() -> None:
    record = record_of("row", 8, "core", "workers", [seen(100, 10, {}, wrong=1)])
    assert (record["calls_per_request"]["median"], record["wrong"]) == (1.0, 0)


@pytest.mark.parametrize("line", ["", "12", "12 <... futex resumed>) = 0", "+++ exited with 0 +++"])
def test_lines_without_a_call(line: str) -> None:
    assert not read_strace([line], {})
