"""Where and with what a benchmark ran."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.load_tools import TOOL_OF, version_of

_ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = (
    "mindspore_serving",
    "grpcio",
    "protobuf",
    "aiohttp",
    "uvloop",
    "orjson",
    "numpy",
    "mindspore",
)


def describe_machine() -> dict[str, Any]:
    """Hardware, system, versions and the state of the source tree."""
    return {
        "cpu": _field_of("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(int((_field_of("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) / (1 << 20), 1),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "load_tools": [version_of(tool) for tool in TOOL_OF.values()],
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "time": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }


def _field_of(file: str, name: str) -> str | None:
    for line in Path(file).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def commit_of(python: str) -> str | None:
    """Of the source tree from which a Python has MindSpore Serving; None if it has it from elsewhere."""
    # A folder of its own: else Python would find the package of this source tree.
    find = "import importlib.util; print(importlib.util.find_spec('mindspore_serving').origin)"
    with tempfile.TemporaryDirectory() as folder:
        found = subprocess.run([python, "-c", find], cwd=folder, capture_output=True, text=True, check=True)
    return _git("rev-parse", "HEAD", folder=Path(found.stdout.strip()).parent)


def _git(*arguments: str, folder: Path = _ROOT) -> str | None:
    """What git says; None outside of a repository, and where there is no git."""
    try:
        ended = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return ended.stdout.strip()
