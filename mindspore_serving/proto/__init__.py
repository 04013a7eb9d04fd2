"""Messages and gRPC stubs of the wire, generated from the `.proto` files of the source tree.

An installed wheel carries the generated modules. In a source tree they are written beside this file, by an editable
installation or, where there was none, by the first import; later imports only compare a fingerprint.
"""

from __future__ import annotations

import runpy
from pathlib import Path

from google.protobuf.message import DecodeError

UNDECODABLE = (DecodeError, UnicodeDecodeError)
"""What the protobuf library raises for bytes that are no message. Its implementation in Python, which MindSpore selects
in processes that import it, finds text that is not UTF-8 only when a field is read."""
_SOURCES = Path(__file__).resolve().parents[2] / "proto"


def _generate_in_source_tree() -> None:
    """Bring the generated modules up to date with the `.proto` files.

    Raises:
        ImportError: They are missing or out of date, and could not be generated.
    """
    try:
        runpy.run_path(str(_SOURCES / "generate.py"))["generate_in_place"]()
    except (ImportError, OSError, RuntimeError) as error:
        raise ImportError(
            f"The generated modules of {__name__} are missing or older than the files in {_SOURCES}, and could not be "
            f"generated ({error}). Run './build.sh setup' in {_SOURCES.parent}, or install grpcio-tools for this "
            f"Python and import again.",
            name=__name__,
        ) from error


if (_SOURCES / "ms_service.proto").is_file() and (_SOURCES / "generate.py").is_file():
    _generate_in_source_tree()
