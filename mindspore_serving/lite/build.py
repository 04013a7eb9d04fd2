"""Fetches the package of MindSpore Lite and compiles `shim.cc` against its library.

Everything is made in a folder beside the final one, tried, and then put into place: who looks meanwhile finds all of it
or nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from mindspore_serving.errors import StartUpError
from mindspore_serving.lite.installation import (
    SHIM_SOURCE,
    VERSION,
    fingerprint,
    folders,
    has_libraries,
    is_built,
    library_of,
    stamp_of,
)

_PLATFORM = "manylinux1_x86_64"
# Made for a Python that this one is not.
_LEFT_OUT = ".cpython-37m-x86_64-linux-gnu.so"
_LINKED = ("libmindspore-extendrt_python.so", "libmindspore_converter.so", "libmindspore_glog.so.0")
_FLAGS = ("-std=c++17", "-O2", "-fPIC", "-shared", "-D_GLIBCXX_USE_CXX11_ABI=0")
_LINK_FLAGS = ("-Wl,--disable-new-dtags,-rpath,$ORIGIN", "-Wl,--allow-shlib-undefined")


def build(say: Callable[[str], None], environment: Mapping[str, str] = os.environ) -> Path:
    """Fetch and compile what is not there yet.

    Args:
        say: Takes a line at each step.
        environment: `CXX` names the compiler, SERVING_LITE_FOLDER the folder.

    Returns:
        The folder.

    Raises:
        StartUpError: The machine is none of those that the package is made for, there is no compiler, the folder holds
            something else or cannot be written, or a step failed.
    """
    folder = folders(environment)[0]
    try:
        return _build(folder, say, environment)
    except (OSError, zipfile.BadZipFile) as cause:
        raise StartUpError(f"MindSpore Lite cannot be put into {folder}: {cause}") from cause


def _build(folder: Path, say: Callable[[str], None], environment: Mapping[str, str]) -> Path:
    with _lock(folder):
        if is_built(folder):
            say(f"MindSpore Lite {VERSION} is there already: {folder}")
            return folder
        _check_replaceable(folder)
        compiler = find_compiler(environment)
        with _scratch(folder) as scratch:
            made = scratch / "made"
            if has_libraries(folder):
                shutil.copytree(folder, made, copy_function=os.link)  # the same libraries, only compiled anew
                library_of(made).unlink(missing_ok=True)
                stamp_of(made).unlink(missing_ok=True)
            else:
                say(f"Fetching the package of MindSpore Lite {VERSION}, 169 MB to download, 0.5 GB on disk")
                unpack(fetch(scratch), made)
            say(f"Compiling the interface to it with {' '.join(compiler)}")
            compile_shim(compiler, made)
            say("Trying it")
            _try(made)
            stamp_of(made).write_text(fingerprint())
            _replace(folder, made, scratch / "old")
    say(f"MindSpore Lite {VERSION} is ready: {folder}")
    return folder


def find_compiler(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The C++ compiler, as the beginning of a command.

    Args:
        environment: `CXX` names it, with options if need be; else g++ and c++ are looked for.

    Raises:
        StartUpError: There is none.
    """
    named = shlex.split(environment.get("CXX", ""))
    for command in [named] if named else [["g++"], ["c++"]]:
        if shutil.which(command[0], path=environment.get("PATH")):
            return command
    raise StartUpError(
        f"The C++ compiler {named[0] if named else 'g++'} was not found, which compiles the interface to MindSpore "
        "Lite; install it (on Debian and Ubuntu: apt-get install g++), or name another: CXX=/path/to/compiler"
    )


def fetch(scratch: Path) -> Path:
    """Download the package with pip; returns the wheel.

    Raises:
        StartUpError: There is no package for this machine, or pip failed.
    """
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise StartUpError(
            f"MindSpore Lite {VERSION} cannot be fetched for {sys.platform} on {platform.machine()}, the package index "
            "has it for linux on x86_64 only"
        )
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--no-deps"]
    command += ["--dest", str(scratch), "--only-binary=:all:", "--platform", _PLATFORM]
    command += ["--python-version", "3.7", "--implementation", "cp", f"mindspore-lite=={VERSION}"]
    _run(command, "Fetching MindSpore Lite with pip")
    return next(scratch.glob("*.whl"))


def unpack(wheel: Path, folder: Path) -> None:
    """Put the libraries and headers of a wheel into a new folder, as `lib` and `include`.

    The modules go to `python`: nothing imports them, but they show how the package is used.
    """
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            top, _, rest = member.filename.partition("/")
            if top != "mindspore_lite" or member.is_dir() or rest.endswith(_LEFT_OUT) or ".." in rest:
                continue
            if rest.startswith(("lib/", "include/")):
                target = folder / rest
            elif rest.endswith(".py"):
                target = folder / "python" / top / rest
            else:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)


def compile_shim(compiler: list[str], folder: Path) -> None:
    """Compile `shim.cc` against the libraries of a folder, beside which it is put.

    Raises:
        StartUpError: The compiler failed.
    """
    libraries = [f"-l:{name}" for name in _LINKED]
    paths = [f"-I{folder}", f"-I{folder / 'include'}", f"-L{folder / 'lib'}"]
    output = ["-o", str(library_of(folder)), str(SHIM_SOURCE)]
    _run([*compiler, *_FLAGS, *paths, *output, *libraries, *_LINK_FLAGS], "Compiling the interface to Lite")


def _try(folder: Path) -> None:
    """Load the library in a process of its own, as this one may hold an older one."""
    code = f"import ctypes; ctypes.CDLL({str(library_of(folder))!r}).serving_lite_context_new"
    _run([sys.executable, "-c", code], "Loading the compiled interface to Lite")


def _run(command: list[str], title: str) -> None:
    try:
        done = subprocess.run(command, check=False)
    except OSError as cause:
        raise StartUpError(f"{title} failed: {cause}") from cause
    if done.returncode:
        raise StartUpError(
            f"{title} failed with exit status {done.returncode}, its reason stands above; the command was: "
            f"{shlex.join(command)}"
        )


def _check_replaceable(folder: Path) -> None:
    """Refuse to replace what no build has made: the environment variable may name any folder.

    Raises:
        StartUpError: There is something else.
    """
    is_ours = stamp_of(folder).is_file() and library_of(folder).is_file()
    is_free = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    if not is_ours and not is_free:
        raise StartUpError(
            f"MindSpore Lite cannot be put into {folder}, which holds something else, expected a folder that is empty, "
            "that does not exist yet, or that an earlier build has made"
        )


def _replace(folder: Path, made: Path, old: Path) -> None:
    if folder.exists():
        folder.rename(old)
    made.rename(folder)


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A folder beside the final one. Its name is always the same, so that what a killed build left goes away."""
    scratch = folder.parent / f".{folder.name}.building"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """One build of a folder at a time; others wait for it, and find it done."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
