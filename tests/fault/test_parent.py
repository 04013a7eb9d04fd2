"""A process that is told when its parent ends: by the kernel, without it, and when code of users is in the way."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mindspore_serving.server.host.parent import Parent
from tests.support.watch import kill

LONG_S = 20.0

# Starts a child that waits for its parent, tells its own process id once the child waits, and stays until it is killed.
PARENT = """\
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {child!r}], stdin=subprocess.PIPE)
print(child.pid, flush=True)
sys.stdin.read()
"""
CHILD = """\
import errno, os, sys
from mindspore_serving.server.host.parent import Parent

def refused(pid):
    raise OSError(errno.ENOSYS, "no such call")

def pidfd():
    [number] = [int(n) for n in os.listdir("/proc/self/fd") if "pidfd" in os.path.realpath("/proc/self/fd/" + n)]
    return number

case = {case!r}
if case == "looked up":
    os.pidfd_open = refused
parent = Parent(os.getppid())
assert not parent.wait_until_gone(0)
if case == "closed":
    os.close(pidfd())
elif case == "another file":
    os.dup2(os.open("/dev/zero", os.O_RDONLY), pidfd())  # always ready
assert not parent.wait_until_gone(0.01)
print("waits", flush=True)
print("gone" if parent.wait_until_gone({limit}) else "late", flush=True)
"""


@pytest.mark.parametrize("case", ["told by the kernel", "looked up", "closed", "another file"])
def test_the_end_of_the_parent_is_noticed(case: str) -> None:
    child = CHILD.format(case=case, limit=LONG_S)
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(child=child)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    lines = {process.stdout.readline() for _ in range(2)}  # of parent and child, in any order
    [number] = [line for line in lines if line != "waits\n"]
    try:
        kill(process.pid)
        assert process.stdout.readline() == "gone\n"
    finally:
        kill(int(number))
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_a_parent_that_lives_is_waited_for_in_vain() -> None:
    assert not Parent(os.getppid()).wait_until_gone(0.01)


def test_a_process_that_is_not_the_parent_counts_as_gone() -> None:
    assert Parent(os.getpid()).wait_until_gone(LONG_S)
