"""Servers as users of Paddle Serving start them: `python -m mindspore_serving.serve`."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support.serving import RunningScript, free_port, running_module

MODULE = "mindspore_serving.serve"
READY = "gRPC on the same port"
NAMES = "serving_server_conf.prototxt"


@contextlib.contextmanager
def paddle_server(
    folder: Path, models: Sequence[str], *arguments: str, port: int = 0
) -> Iterator[tuple[RunningScript, str]]:
    """Serve models that lie in a folder.

    Args:
        folder: The working directory.
        models: Folders in it.
        arguments: Further ones.
        port: Where it listens; 0 for a free one.

    Yields:
        The process, ready, and the address for HTTP and gRPC.
    """
    port = port or free_port()
    command = ["--model", *models, "--port", str(port), *arguments]
    with running_module(MODULE, folder, *command) as running:
        running.wait_for_line(READY)
        yield running, f"127.0.0.1:{port}"


def copy_model(model: Path, folder: Path) -> Path:
    """A copy of a model's folder, of the same name."""
    return Path(shutil.copytree(model, folder / model.name))
