"""One target in libFuzzer, in a process of its own: `python -m tests.fuzz.libfuzzer TARGET [OPTIONS OF LIBFUZZER]`."""

from __future__ import annotations

import logging
import sys

import atheris

with atheris.instrument_imports(include=["mindspore_serving"], enable_loader_override=False):
    from tests.fuzz.targets import load

    ONE_INPUT = load(sys.argv[1])


def main() -> None:
    """Run until libFuzzer ends this process."""
    logging.disable(logging.CRITICAL)
    # libFuzzer starts itself again to merge: what it takes for its name is the beginning of a command line.
    name = f"{sys.executable} -m tests.fuzz.libfuzzer {sys.argv[1]}"
    atheris.Setup([name, *sys.argv[2:]], ONE_INPUT)
    atheris.Fuzz()


main()
