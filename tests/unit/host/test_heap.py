"""Memory that was freed."""

import platform
import subprocess
import sys

import pytest

from mindspore_serving.server.host.heap import keep_freed_memory

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is another one")

_ARRAYS, _ROUNDS = 5, 20
_PAGES = _ROUNDS * _ARRAYS * (600 << 10) // 4096
_FAULTS = f"""\
import resource
import sys

import numpy as np

from mindspore_serving.server.host.heap import keep_freed_memory

assert sys.argv[1] == "as it is" or keep_freed_memory(memory=int(sys.argv[1]))


def images():
    arrays = [np.ones(600 << 10, np.uint8) for _ in range({_ARRAYS})]


def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


for _ in range(3):
    images()
before = faults()
for _ in range({_ROUNDS}):
    images()
print(faults() - before)
"""


def faults(heap: str) -> int:
    """Pages that images cost a process which needs some of them at a time, over and over.

    Args:
        heap: Bytes of memory for which the C library is set up, or `as it is`.
    """
    command = [sys.executable, "-c", _FAULTS, heap]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return int(done.stdout)


def test_images_find_their_pages_again() -> None:
    assert faults("as it is") > _PAGES / 2
    assert faults(str(32 << 30)) < _PAGES / 20


def test_less_is_kept_where_there_is_little_memory() -> None:
    assert faults(str(1 << 30)) < _PAGES / 20  # an image is less than a 512th
    assert faults(str(256 << 20)) > _PAGES / 2


@pytest.mark.parametrize("variable", ["GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"])
def test_settings_of_the_user_stay(variable: str) -> None:
    assert not keep_freed_memory({variable: "1"})
