"""Tests clients that are not Serving's own, with what they require; part of `./build.sh check`.

tritonclient's extras ask for protobuf below 7: who installs them after Serving gets that, so the server must run on it.
MindSpore asks for protobuf 7, and so .venv has that: the tests run here once more, with a wheel of Serving and the
older protobuf in front of the packages of .venv. The clients of KServe and of Paddle Serving have environments of
their own. All are in .venv/share/clients. That the package index cannot be reached is no failure, but a line says so: a
check must not depend on somebody else's server.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from functools import partial
from importlib.metadata import requires
from pathlib import Path

from beside_venv import INSTALLED_WITHIN_S, PIP, ROOT, SHARE, make, passes, runs
from packaging.requirements import Requirement

ENVIRONMENTS = SHARE / "clients"
TESTS = (
    "tests/clients/test_one_process.py",
    "tests/clients/test_triton_requests.py",
    "tests/clients/test_triton_stream.py",
)
"""Of the older protobuf: those that write and read messages of each kind. `./build.sh test` runs all."""
OF_OWN_ENVIRONMENTS = {
    "kserve": "tests/clients/test_kserve.py",
    "paddle_serving": "tests/clients/test_paddle_serving_client.py",
}
"""Environment to the tests that use it."""


def wanted(requirements: Iterable[str], package: str, extra: str) -> Requirement:
    """What an extra of a distribution requires of a package.

    Args:
        requirements: Of the distribution, as its metadata has them.
        package: Name of the package.
        extra: Name of the extra.

    Raises:
        SystemExit: It requires nothing of it.
    """
    for requirement in map(Requirement, requirements):
        marker = requirement.marker
        if requirement.name == package and marker is not None and marker.evaluate({"extra": extra}):
            requirement.marker = None
            return requirement
    raise SystemExit(f"the extra {extra} does not require {package}")


def environment_with(requirement: Requirement) -> Path | None:
    """The Python of an environment with a wheel of Serving and a package; None if that failed.

    The wheel is built anew each time, from the tree as it is. Everything else is seen where .venv has it.
    """
    with tempfile.TemporaryDirectory() as wheels:
        build = [*PIP, "wheel", "-qq", "--no-deps", f"--wheel-dir={wheels}", str(ROOT)]
        if not runs(build, INSTALLED_WITHIN_S):
            return None
        return make(ENVIRONMENTS / requirement.name, [str(requirement), *Path(wheels).glob("*.whl")])


def older_protobuf_passes() -> bool:
    """Whether the tests of tritonclient pass with the protobuf that it requires."""
    requirement = wanted(requires("tritonclient") or [], "protobuf", "grpc")
    print(f"==> The tests of clients with {requirement}, which tritonclient requires", flush=True)
    if not _index_has(str(requirement)):
        print("    not tested: the package index cannot be reached")
        return True
    python = environment_with(requirement)
    if python is None:
        return False
    asked = "import google.protobuf as p, mindspore_serving as m; print(p.__version__, m.__file__)"
    found = subprocess.run(
        [python, "-c", asked], cwd="/", stdout=subprocess.PIPE, text=True, check=False
    ).stdout
    version, _, place = found.strip().partition(" ")
    if not requirement.specifier.contains(version or "0") or not place.startswith(str(ENVIRONMENTS)):
        print(
            f"    the environment has protobuf {version or 'that cannot be imported'}, and Serving in {place}"
        )
        return False
    return passes(python, TESTS)


def passes_in_own_environment(name: str, test: str) -> bool:
    """Whether the tests of clients pass that have an environment of their own, which is made where it is not there."""
    print(f"==> The tests of the clients in the environment {name}", flush=True)
    command = [sys.executable, "-m", "tests.clients.environments", name]
    if not runs(command, 3 * INSTALLED_WITHIN_S):
        print(f"    not tested: the environment {name} cannot be made")
        return True
    return passes(Path(sys.executable), [test])


def _index_has(requirement: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        return runs(
            [*PIP, "download", "-qq", "--no-deps", f"--dest={folder}", requirement], INSTALLED_WITHIN_S
        )


def main() -> int:
    """Run all; returns the exit code."""
    ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    failed = 0
    with (ENVIRONMENTS / "lock").open("a", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        own = [partial(passes_in_own_environment, *one) for one in OF_OWN_ENVIRONMENTS.items()]
        for check in (older_protobuf_passes, *own):
            begin = time.monotonic()
            passed = check()
            failed = failed if passed else 1
            print(
                f"    {'passed' if passed else 'FAILED'} after {time.monotonic() - begin:.0f} s", flush=True
            )
    shutil.rmtree(ROOT / "build", ignore_errors=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
