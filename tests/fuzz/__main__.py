"""Fuzzing: `python -m tests.fuzz [--minutes N] [--corpus FOLDER] [TARGET ...]`."""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.targets import CORPUS, MOST_BYTES

_ROOT = Path(__file__).resolve().parents[2]
_MEMORY = Path("/dev/shm")
"""Where temporary files are quick."""
_LIMITS = ("-timeout=5", "-rss_limit_mb=1024")
"""Seconds for one input, and the memory of the process in MB."""
_MOST_FILES = 150
_MOST_CORPUS_BYTES = 300_000
_BY_NAME = re.compile(r"[0-9a-f]{40}")
"""What libFuzzer calls an input; those with another name were named by people, and stay."""


def main(arguments: Sequence[str]) -> int:
    """Fuzz some targets one after the other; returns the exit code, 1 if one of them has failed."""
    options = _parser().parse_args(arguments)
    if importlib.util.find_spec("atheris") is None:
        print(
            "Fuzzing needs atheris, which has packages for Linux: pip install -e '.[fuzz]'", file=sys.stderr
        )
        return 2
    failed = [target for target in options.targets or MOST_BYTES if not _fuzz(target, options)]
    if failed:
        print(f"Failed: {', '.join(failed)}. The inputs are in {options.crashes}.", file=sys.stderr)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz with atheris.")
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"of {', '.join(MOST_BYTES)}; all by default"
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="for each target, 10 by default")
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="has a folder for each target")
    parser.add_argument(
        "--crashes", type=Path, default=Path("fuzz_crashes"), help="where inputs go that fail"
    )
    return parser


def _fuzz(target: str, options: argparse.Namespace) -> bool:
    """Fuzz one target and keep what reaches new code; returns whether all went well."""
    if target not in MOST_BYTES:
        sys.exit(f"There is no target {target!r}, expected one of {', '.join(MOST_BYTES)}")
    kept = options.corpus / target
    kept.mkdir(parents=True, exist_ok=True)
    options.crashes.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-corpus-") as found:
        limits = (f"-max_len={MOST_BYTES[target]}", f"-max_total_time={options.minutes * 60:.0f}")
        artifacts = f"-artifact_prefix={options.crashes.resolve()}/{target}-"
        report = _run(
            target, *_LIMITS, *limits, artifacts, "-print_final_stats=1", found, str(kept.resolve())
        )
        seconds = time.monotonic() - begin
        well = report.returncode == 0
        if well:
            _merge(target, kept, Path(found))
        else:
            print(report.stderr[-4000:])
    executions = re.search(r"number_of_executed_units: (\d+)", report.stderr)
    files = list(kept.iterdir())
    print(
        f"{target}: {executions[1] if executions else '?'} executions in {seconds:.0f} s, corpus of {len(files)} files "
        f"and {sum(file.stat().st_size for file in files)} bytes, {'no failure' if well else 'FAILED'}",
        flush=True,
    )
    return well


def _merge(target: str, kept: Path, found: Path) -> None:
    """Keep the smallest inputs that together reach all code that is reached, and those that have a name."""
    with tempfile.TemporaryDirectory(prefix="fuzz-merge-") as merged:
        report = _run(target, *_LIMITS, "-merge=1", merged, str(kept.resolve()), str(found))
        if report.returncode != 0:
            sys.exit(f"The corpus of {target} could not be merged:\n{report.stderr[-4000:]}")
        named = [path for path in kept.iterdir() if not _BY_NAME.fullmatch(path.name)]
        files, size = len(named), sum(path.stat().st_size for path in named)
        contents = {path.read_bytes() for path in named}
        for path in kept.iterdir():
            if path not in named:
                path.unlink()
        for path in sorted(Path(merged).iterdir(), key=lambda path: path.stat().st_size):
            content = path.read_bytes()
            files, size = files + 1, size + len(content)
            if files > _MOST_FILES or size > _MOST_CORPUS_BYTES:
                break
            if content not in contents:
                (kept / path.name).write_bytes(content)


def _run(target: str, *options: str) -> subprocess.CompletedProcess[str]:
    """libFuzzer in a process of its own. It ends without cleaning up, so its temporary files get a folder here."""
    command = [sys.executable, "-m", "tests.fuzz.libfuzzer", target, *options]
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=_MEMORY if _MEMORY.is_dir() else None) as scratch:
        return subprocess.run(
            command,
            cwd=_ROOT,
            env={**os.environ, "TMPDIR": scratch},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )


sys.exit(main(sys.argv[1:]))
