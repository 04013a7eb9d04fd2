"""Converts models to what MindSpore Lite 2.0 runs.

MindSpore 2.x writes MindIR files that this release of Lite does not read. It also exports ONNX, which Lite converts.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from mindspore_serving.errors import InvalidParameter, StartUpError
from mindspore_serving.lite.library import FROM_MINDIR, MINDIR, MS, ONNX
from mindspore_serving.lite.reason import NEWER_MINDIR

HOW_TO_CONVERT = (
    "export the network with mindspore.onnx.export and convert that with: "
    "python -m mindspore_serving.lite convert MODEL.onnx MODEL.mindir"
)

_SOURCES = {".onnx": ONNX, ".mindir": FROM_MINDIR}
_TARGETS = {".mindir": MINDIR, ".ms": MS}
_SHOWN_LINES = 5


def convert(
    source: Path,
    target: Path,
    shapes: Mapping[str, Sequence[int]] | None = None,
    weight_fp16: bool = False,
) -> None:
    """Convert a model file for MindSpore Lite. Shapes and their order of dimensions stay as they are.

    A process of its own converts: Lite crashes at some models that it does not know, and this process may hold
    MindSpore, which excludes Lite.

    Args:
        source: An `.onnx` file, or a `.mindir` file of MindSpore 2.0 or earlier.
        target: The new file, `.mindir` or `.ms`; one that is there is replaced.
        shapes: Input name to the shape that it is to have; others keep theirs.
        weight_fp16: Whether to store weights in float16.

    Raises:
        InvalidParameter: The ending of a file is none of these.
        StartUpError: The library is not built, Lite cannot convert the model, or the new file cannot be written; the
            text says why.
    """
    source_format = _format(source, _SOURCES, "be converted")
    target_format = _format(target, _TARGETS, "be converted to")
    if not source.is_file():
        raise StartUpError(f"Model file '{source}' does not exist")
    try:
        _convert(source, source_format, target, target_format, shapes or {}, weight_fp16)
    except OSError as cause:
        raise StartUpError(f"Model file '{target}' cannot be written: {cause}") from cause


def _convert(
    source: Path,
    source_format: int,
    target: Path,
    target_format: int,
    shapes: Mapping[str, Sequence[int]],
    weight_fp16: bool,
) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".converting-") as scratch:
        made = Path(scratch).absolute() / target.name
        request = {
            "source_format": source_format,
            "source": str(source.absolute()),
            "target": str(made.with_suffix("")),
            "target_format": target_format,
            "shapes": dict(shapes),
            "weight_fp16": weight_fp16,
        }
        problem = _convert_elsewhere(request)
        if problem:
            hint = f"; {HOW_TO_CONVERT}" if NEWER_MINDIR in problem else ""
            raise StartUpError(f"Model file '{source}' cannot be converted: {problem}{hint}")
        made.chmod(0o644)
        made.replace(target)


def _convert_elsewhere(request: Mapping[str, object]) -> str:
    """Run `convert_process`; returns why it failed, empty if it did not."""
    command = [sys.executable, "-m", "mindspore_serving.lite.convert_process", json.dumps(request)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode < 0:
        last = "\n".join(done.stderr.splitlines()[-_SHOWN_LINES:]) or "(none)"
        return (
            f"MindSpore Lite crashed with {signal.Signals(-done.returncode).name}, after these lines:\n{last}"
        )
    if done.returncode:
        lines = (done.stdout if done.returncode == 1 else done.stderr).splitlines()
        return lines[-1] if lines else f"exit status {done.returncode}"
    return ""


def _format(path: Path, known: Mapping[str, int], verb: str) -> int:
    if path.suffix not in known:
        raise InvalidParameter(
            f"Model file '{path}' cannot {verb}, expected a file name that ends with {' or '.join(known)}"
        )
    return known[path.suffix]
