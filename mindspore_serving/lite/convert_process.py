"""Body of the process that converts one model; `convert.py` starts it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mindspore_serving.lite.library import LiteError, convert_file, load_library


def main() -> int:
    """Convert what the argument says; exit status 1 goes with the reason as the last line printed."""
    request = json.loads(sys.argv[1])
    try:
        convert_file(
            load_library(),
            request["source_format"],
            Path(request["source"]),
            Path(request["target"]),
            request["target_format"],
            request["shapes"],
            request["weight_fp16"],
        )
    except LiteError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
