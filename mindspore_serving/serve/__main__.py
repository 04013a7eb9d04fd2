"""`python -m mindspore_serving.serve`."""

from __future__ import annotations

import sys

from mindspore_serving.errors import ServingError
from mindspore_serving.serve.options import PORT, PROGRAM, read_options


def main() -> int:
    """Do what the command line says; returns the exit code."""
    options = read_options(sys.argv[1:])
    from mindspore_serving.serve import running, words  # quick to say what is wrong with a command line

    try:
        if options.word in ("stop", "kill"):
            return words.stop(options.port, kill=options.word == "kill")
        if options.word == "check":
            return words.check(options.port or PORT)
        running.serve(options)
    except ServingError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
