"""How much memory a process may use, by what its control groups say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mindspore_serving.server.host.memory_limit import usable_memory
from mindspore_serving.server.host.settings import server_limits

MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("own_groups", "files", "expected"),
    [
        ("", {}, MACHINE),
        ("0::/\n", {"memory.max": "5000000\n"}, 5_000_000),
        ("0::/\n", {"memory.max": "max\n"}, MACHINE),
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "7000\n", "memory.max": "9000\n"}, 7000),
        ("0::/of/the/machine\n", {"memory.max": "8000\n"}, 8000),
        ("2:cpu:/x\n4:cpuacct,memory:/x\n", {"memory/x/memory.limit_in_bytes": "6000\n"}, 6000),
        ("4:memory:/x\n0::/\n", {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, MACHINE),
        ("4:cpu:/x\n", {"memory/x/memory.limit_in_bytes": "6000\n"}, MACHINE),
        ("nonsense\n", {"memory.max": "no number\n"}, MACHINE),
    ],
    ids=["none", "own", "no limit", "around it", "container", "version 1", "huge", "of others", "nonsense"],
)
def test_limits_of_control_groups(
    tmp_path: Path, own_groups: str, files: dict[str, str], expected: int
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "own").write_text(own_groups)
    assert usable_memory(tmp_path, tmp_path / "own") == expected


def test_a_system_without_control_groups(tmp_path: Path) -> None:
    assert usable_memory(tmp_path, tmp_path / "none") == MACHINE


def test_the_default_is_a_quarter_but_never_tiny() -> None:
    assert max(MACHINE // 4, 256 << 20) >= server_limits.byte_size >= 256 << 20
