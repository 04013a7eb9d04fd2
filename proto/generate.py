"""Generate the Python modules of `mindspore_serving.proto` from the `.proto` files beside this script.

`setup.py` calls `generate` for a wheel and `generate_in_place` for an editable installation; the package itself calls
`generate_in_place` when it is imported from a source tree; `python proto/generate.py` does the same by hand.

The sources lie flat in this folder, while the modules live in a package. protoc's path mapping joins the two: it sees
this folder as `mindspore_serving/proto`, so `import "mindspore_serving/proto/ms_service.proto"` in a source becomes
`from mindspore_serving.proto import ms_service_pb2` in a module.

The sources in `foreign/` are protocols that packages of others define, too. protoc's own modules would name their
messages a second time in the pool of the process, which protobuf refuses. So their modules are written here: each is a
descriptor, and a call of `mindspore_serving.proto.foreign.define`.

In place, a stamp beside the modules holds the fingerprint of the sources they were generated from. It is written last
and is also the lock, so that of several processes that start in a fresh clone one generates and the others wait.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCES = Path(__file__).resolve().parent
PACKAGE = Path("mindspore_serving", "proto")
FOREIGN = "foreign"
"""Folder of the sources, and of the modules, of the protocols of others."""
SUFFIXES = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py")
FOREIGN_SUFFIXES = ("_pb2.py", "_pb2.pyi")
STAMP = ".generated"
FOREIGN_MODULE = '''"""Messages of {name}; generated."""

from mindspore_serving.proto.foreign import define

define(
    globals(),
    {descriptor!r},
)
'''


def generate(root: Path) -> None:
    """Write all modules into the package folder below `root`, replacing each file atomically.

    Args:
        root: Folder that holds, or is to hold, the top of the package.

    Raises:
        ImportError: This Python has no grpcio-tools.
        RuntimeError: protoc refused a source; the message is protoc's own.
    """
    if importlib.util.find_spec("grpc_tools") is None:
        raise ImportError(f"{sys.executable} has no grpcio-tools", name="grpc_tools")
    target = root / PACKAGE
    (target / FOREIGN).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".generating-", dir=target) as scratch:
        made = Path(scratch) / PACKAGE
        kinds = [f"--{kind}_out={scratch}" for kind in ("python", "pyi", "grpc_python")]
        _run_protoc([f"-I{PACKAGE.as_posix()}={SOURCES}", *kinds], _sources())
        _generate_foreign(Path(scratch))
        for module in [path for path in made.rglob("*") if path.is_file()]:
            module.replace(target / module.relative_to(made))


def generate_in_place(*, force: bool = False) -> None:
    """Generate the modules in the source tree unless they are those of the present sources.

    Args:
        force: Generate even if they are, so that the modules are those of this Python's grpcio-tools.

    Raises:
        ImportError: As `generate`.
        OSError: The package folder cannot be written.
        RuntimeError: As `generate`.
    """
    root = SOURCES.parent
    fingerprint = _fingerprint()
    if not force and _is_current(root / PACKAGE, fingerprint):
        return
    with (root / PACKAGE / STAMP).open("a", encoding="ascii") as stamp:
        fcntl.flock(stamp, fcntl.LOCK_EX)
        if not force and _is_current(root / PACKAGE, fingerprint):
            return
        generate(root)
        stamp.truncate(0)
        stamp.write(fingerprint)


def _sources() -> list[Path]:
    return sorted(SOURCES.glob("*.proto"))


def _foreign_sources() -> list[Path]:
    return sorted((SOURCES / FOREIGN).glob("*.proto"))


def _generate_foreign(scratch: Path) -> None:
    """Write the modules of the protocols of others below a folder, as `generate` does."""
    from google.protobuf.descriptor_pb2 import FileDescriptorSet  # grpcio-tools brings it

    folder = PACKAGE / FOREIGN
    described = scratch / "descriptors"
    _run_protoc(
        [
            f"-I{folder.as_posix()}={SOURCES / FOREIGN}",
            f"--pyi_out={scratch}",
            f"--descriptor_set_out={described}",
        ],
        _foreign_sources(),
    )
    for file in FileDescriptorSet.FromString(described.read_bytes()).file:
        module = scratch / folder / f"{Path(file.name).stem}_pb2.py"
        content = FOREIGN_MODULE.format(
            name=file.package, descriptor=file.SerializeToString(deterministic=True)
        )
        module.write_text(content, encoding="ascii")


def _run_protoc(options: list[str], sources: list[Path]) -> None:
    command = [*(sys.executable, "-m", "grpc_tools.protoc"), *options, *map(str, sources)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"protoc ended with status {done.returncode}: {done.stderr.strip()}")


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for source in [*_sources(), *_foreign_sources()]:
        content = source.read_bytes()
        digest.update(f"{source.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _is_current(target: Path, fingerprint: str) -> bool:
    try:
        stamped = (target / STAMP).read_text(encoding="ascii")
    except FileNotFoundError:
        return False
    modules = [source.stem + suffix for source in _sources() for suffix in SUFFIXES]
    modules += [
        f"{FOREIGN}/{source.stem}{suffix}" for source in _foreign_sources() for suffix in FOREIGN_SUFFIXES
    ]
    return stamped == fingerprint and all((target / module).is_file() for module in modules)


if __name__ == "__main__":
    generate_in_place(force=True)
