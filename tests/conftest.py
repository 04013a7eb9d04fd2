"""What holds for every test: signals, the environment, and which of the two gRPC servers it meets."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes tells of the machine alone; and the same ones are tried in each run.
settings.register_profile(
    "suite", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")

# Under nohup it would be ignored here, and so in the servers that tests start.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

_OF_THE_SHELL = re.compile(
    r"(SERVING|GLOG|OTEL|MS)_(?!LITE_FOLDER$).*|FORCE_COLOR|NO_COLOR|COLUMNS|LINES|TTY_COMPATIBLE|TTY_INTERACTIVE"
)
"""What a shell may have that changes servers, verbs, and what they print."""
for _name in filter(_OF_THE_SHELL.fullmatch, list(os.environ)):
    del os.environ[_name]
_OF_PYTEST = "PYTEST_CURRENT_TEST"

LIBRARIES = ("core", "aio")
LIBRARY_VARIABLE = "SERVING_GRPC"
_BOTH = "both_grpc_servers"
_WITHOUT_SERVERS = ("unit", "tools")
_FIRST = (
    "example",
    "mindspore",
    "lite",
    "paddle",
    "onnx",
    "server",
    "fault",
    "cli",
    "clients",
    "conformance",
    "tools",
)
"""Folders by the time that their longest files take, the longest first."""
_SPEAKS_GRPC = re.compile(r"grpc|\bClient\b")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the choice of the gRPC server."""
    parser.addoption(
        "--grpc",
        choices=(*LIBRARIES, "both"),
        help="the gRPC server that all tests meet; by default tests of the transport, which have the mark "
        f"{_BOTH}, run on both, all others on {LIBRARIES[0]}; with 'both' all that speak gRPC run on both",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line("markers", f"{_BOTH}: a test of the gRPC transport, run on both servers")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """For several processes, begin with long files: one that began last would run while the others are done.

    `--no-loadscope-reorder` keeps this order. Files of a folder that run on both gRPC servers come last, since what a
    session shares is made anew after each.
    """
    if hasattr(config, "workerinput"):
        on_both = {item.path for item in items if any(item.iter_markers(_BOTH))}
        items.sort(key=lambda item: (_rank(item.path), item.path in on_both))


def _rank(path: Path) -> int:
    folder = path.relative_to(Path(__file__).parents[1]).parts[1]
    return _FIRST.index(folder) if folder in _FIRST else len(_FIRST)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of each gRPC server that a test is to meet."""
    libraries = _libraries_of(metafunc)
    ids = libraries if len(libraries) > 1 else [pytest.HIDDEN_PARAM]
    metafunc.parametrize("grpc_library", libraries, indirect=True, ids=ids, scope="session")


def _libraries_of(metafunc: pytest.Metafunc) -> tuple[str, ...]:
    chosen = metafunc.config.getoption("--grpc")
    if chosen in LIBRARIES:
        return (chosen,)
    on_both = any(metafunc.definition.iter_markers(_BOTH))
    if chosen == "both":
        on_both = on_both or _speaks_grpc(metafunc.definition.path)
    return LIBRARIES if on_both else LIBRARIES[:1]


def _speaks_grpc(path: Path) -> bool:
    """Whether the tests of a file start servers, and may ask them over gRPC."""
    folder = path.relative_to(Path(__file__).parent).parts[0]
    return folder not in _WITHOUT_SERVERS and _SPEAKS_GRPC.search(path.read_text()) is not None


@pytest.fixture(scope="session", autouse=True)
def grpc_library(request: pytest.FixtureRequest) -> Iterator[str]:
    """Which gRPC server a test meets, `core` or `aio`: in the environment of all that it starts."""
    library: str = request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(LIBRARY_VARIABLE, library)
        yield library


@pytest.fixture(autouse=True)
def _environment_as_before() -> Iterator[None]:
    """Put back the environment of this process, which libraries change when a test imports them.

    Paddle and OpenCV put folders into LD_LIBRARY_PATH, MindSpore chooses an implementation of protobuf; servers that
    later tests start would have it.
    """
    before = dict(os.environ)
    yield
    before.pop(_OF_PYTEST, None)
    for name in os.environ.keys() - before.keys() - {_OF_PYTEST}:
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(scope="session")
def tmp_path_factory(tmp_path_factory: pytest.TempPathFactory, grpc_library: str) -> pytest.TempPathFactory:
    """Folders for one of the gRPC servers.

    What several tests share is made in a folder: so it ends, and is made anew, where tests of the other server begin.
    """
    return tmp_path_factory
