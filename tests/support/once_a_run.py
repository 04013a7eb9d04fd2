"""What is made once for all processes that run tests, and for both gRPC servers: models take long to export."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def folder_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that the first process that asks for it makes, while others wait; nobody may change what is in it.

    Args:
        factory: Knows where the folders of this run are.
        name: Of the folder.
        make: Fills an empty folder. What it raises is raised here, and the next process tries again.
    """
    return folder_made_once(folder_of_the_run(factory) / name, make)


def folder_of_the_run(factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this run share."""
    own = factory.getbasetemp()
    return own.parent if own.name == f"popen-{os.environ.get('PYTEST_XDIST_WORKER')}" else own


def folder_made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """As `folder_once`, at a given place."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            unfinished = folder.with_name(f"{folder.name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(folder)
    return folder
