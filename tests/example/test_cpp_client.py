"""The C++ clients: made as their README says, against a real server."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.example.test_examples import assert_output, blocks_of, copy_of_examples, run
from tests.support.serving import REPOSITORY, RunningServer, add_servable, serving

EXAMPLE = REPOSITORY / "example"
BUILD_TIMEOUT_S = 500


def what_is_missing() -> str:
    """What the build needs and this machine lacks; empty where there is all."""
    missing = [tool for tool in ("cmake", "c++", "protoc", "grpc_cpp_plugin") if shutil.which(tool) is None]
    if missing:
        return ", ".join(missing)
    header = subprocess.run(
        ["c++", "-E", "-x", "c++", "-"], input=b"#include <grpcpp/grpcpp.h>", capture_output=True
    )
    return "" if header.returncode == 0 else "grpcpp/grpcpp.h"


MISSING = what_is_missing()
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed, for C++: {MISSING}")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example in a fresh clone, with both programs."""
    clone = tmp_path_factory.mktemp("clone")
    shutil.copytree(REPOSITORY / "proto", clone / "proto")
    folder = copy_of_examples(EXAMPLE / "cpp_client", clone / "example" / "cpp_client")
    make = next(blocks_of((folder / "README.md").read_text()))
    assert_output(run(make.text, folder, BUILD_TIMEOUT_S), make.output)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The servable of the example tensor_add; the stub backend adds."""
    folder = tmp_path_factory.mktemp("server")
    add_servable(folder, "add", (EXAMPLE / "tensor_add" / "add" / "servable_config.py").read_text())
    with serving(folder, ['".", "add", device_ids=0']) as running:
        yield running


@pytest.mark.timeout(600)
def test_clients_print_what_their_readme_says(built: Path, server: RunningServer) -> None:
    _, *calls = blocks_of((built / "README.md").read_text())
    assert [call.text.split()[0] for call in calls] == ["build/open_inference_client", "build/native_client"]
    for call in calls:
        assert_output(run(call.text.replace("127.0.0.1:5500", server.grpc), built), call.output)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("program", ["open_inference_client", "native_client"])
def test_client_says_that_nobody_answers(built: Path, program: str) -> None:
    done = subprocess.run(
        [built / "build" / program, "127.0.0.1:1"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "The server at 127.0.0.1:1 does not answer: " in done.stderr
