"""Environments with a few packages of their own, which see those of .venv behind them; and tests that run there."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = Path(sysconfig.get_path("purelib"))
"""Where the packages of .venv are."""
SHARE = Path(sys.prefix, "share")
"""Where such environments are made."""
INSTALLED_WITHIN_S = 300
TESTED_WITHIN_S = 300
PIP = (
    sys.executable,
    "-m",
    "pip",
    "--disable-pip-version-check",
    "--no-input",
    "--timeout=10",
    "--retries=1",
)


def runs(command: Sequence[str | Path], limit_s: float) -> bool:
    """Run a command in the tree.

    Args:
        command: It and its arguments.
        limit_s: Seconds that it may take.

    Returns:
        Whether it ended with status 0 in time.
    """
    try:
        return subprocess.run(command, cwd=ROOT, timeout=limit_s, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        print(f"    stopped after {limit_s} s: {' '.join(map(str, command))}")
        return False


def make(folder: Path, packages: Sequence[str | Path]) -> Path | None:
    """Make an environment, in the place of one that is there.

    Args:
        folder: Where.
        packages: What is installed in it, without what that requires, which .venv has. May have options of pip.

    Returns:
        Its Python; None if a package could not be installed.
    """
    venv.create(folder, clear=True, symlinks=True, with_pip=False)
    own = folder / PACKAGES.relative_to(sys.prefix)
    if not runs([*PIP, "install", "-qq", "--no-deps", f"--target={own}", *packages], INSTALLED_WITHIN_S):
        return None
    # After its own packages on the path, so that these are found first; with what is installed editable there.
    (own / "packages_of_venv.pth").write_text(
        f"import site; site.addsitedir({str(PACKAGES)!r})\n", encoding="utf-8"
    )
    return folder / "bin" / "python"


def passes(python: Path, tests: Sequence[str]) -> bool:
    """Whether tests pass with a Python."""
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--numprocesses=2", "--dist=loadfile"]
    return runs([*command, *tests], TESTED_WITHIN_S)
