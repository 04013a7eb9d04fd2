"""`python -m mindspore_serving.lite`: get MindSpore Lite, and convert models for it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mindspore_serving.errors import ServingError
from mindspore_serving.lite.build import build
from mindspore_serving.lite.convert import convert
from mindspore_serving.lite.installation import VERSION, find_library


def main() -> int:
    """Run one command; returns the exit status."""
    arguments = _parser().parse_args()
    try:
        if arguments.command == "build":
            build(lambda line: print(f"==> {line}", flush=True))
        elif arguments.command == "where":
            return _where()
        else:
            shapes = dict(arguments.shape)
            convert(arguments.source, arguments.target, shapes, arguments.weight_fp16)
            print(f"Converted to {arguments.target}")
    except ServingError as error:
        print(f"mindspore_serving.lite: {error}", file=sys.stderr)
        return 1
    return 0


def _where() -> int:
    library = find_library()
    print(library or "not built")
    return 0 if library else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mindspore_serving.lite", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "build",
        help=f"fetch MindSpore Lite {VERSION} and compile an interface to it; at once when that is done already",
    )
    commands.add_parser(
        "where", help="print where the compiled interface is; exit status 1 if it is not built"
    )
    one = commands.add_parser("convert", help="convert a model file")
    one.add_argument("source", type=Path, help="an .onnx file, or a .mindir file of MindSpore 2.0 or earlier")
    one.add_argument("target", type=Path, help="the new file, .mindir or .ms")
    one.add_argument(
        "--shape",
        type=_shape,
        action="append",
        default=[],
        metavar="INPUT:N,C,...",
        help="give an input this shape, for example x:1,3,224,224; once for each input",
    )
    one.add_argument("--weight_fp16", action="store_true", help="store weights in float16")
    return parser


def _shape(text: str) -> tuple[str, list[int]]:
    name, colon, dims = text.rpartition(":")
    if not colon or not name:
        raise argparse.ArgumentTypeError(f"expected INPUT:N,C,..., got {text!r}")
    try:
        return name, [int(dim) for dim in dims.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected INPUT:N,C,... with whole numbers, got {text!r}") from None


if __name__ == "__main__":
    sys.exit(main())
