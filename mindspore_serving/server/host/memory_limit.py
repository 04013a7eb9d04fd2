"""How much memory the processes of this server may use, and which of them ends first where there is too little."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_OOM_SCORE = Path("/proc/self/oom_score_adj")
_MOUNT = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")
_SHARE = 8


def usable_memory(mount: Path = _MOUNT, own_groups: Path = _OWN_GROUPS) -> int:
    """Bytes of memory that this process may use, together with the others of its control group.

    Args:
        mount: Where the control groups are mounted, of either version.
        own_groups: The file that says to which groups this process belongs.

    Returns:
        The least limit of its groups and those around them; without any, the memory of the machine.
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = (_limit_in(file) for file in _limit_files(mount, own_groups))
    return min([machine, *(limit for limit in limits if limit is not None)])


def share_of_memory() -> int:
    """Bytes that one kind of clients' data may take for which there is no other limit: an eighth of the memory."""
    return usable_memory() // _SHARE


def _limit_files(mount: Path, own_groups: Path) -> Iterator[Path]:
    """The files that may limit this process, also those that are not there.

    In a container the path of a group may be that of the machine, of which only the end is mounted: the search goes up
    to the mount itself, which is the container's own group.
    """
    try:
        lines = own_groups.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            root, name = mount, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = mount / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = Path(path.lstrip("/"))
        yield from (root / above / name for above in (group, *group.parents))


def _limit_in(file: Path) -> int | None:
    """The limit that a file holds; None where it is not there, or says that there is none."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def end_before_others(share: float) -> None:
    """Let the system end this process before others of the server where it runs out of memory.

    The main process holds what everybody's requests need; other processes are started again, and the server goes on.

    Args:
        share: The process counts as if it used this share of the memory more than it does.
    """
    score = int(1000 * share)
    with contextlib.suppress(OSError, ValueError):  # not in every sandbox
        if int(_OOM_SCORE.read_text()) < score:
            _OOM_SCORE.write_text(str(score))
