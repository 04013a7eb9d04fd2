"""Supervision with fake processes in virtual time."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from mindspore_serving import log


@pytest.fixture
def log_lines() -> Iterator[list[str]]:
    """What is logged meanwhile from WARNING on, level first."""
    log.debug("the log is set up")
    lines: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(f"{record.levelname} {record.getMessage()}")  # type: ignore[method-assign]
    logger = logging.getLogger("mindspore_serving")
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)
