"""The process of a trial: it reads a job from stdin, and writes what it finds to a descriptor of its own.

What the libraries and the code of the user print goes to stdout and stderr, which `process` keeps for errors.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys

from mindspore_serving.errors import ServingError


def main() -> None:
    """Run the job of this process."""
    faulthandler.enable()
    result_fd = int(sys.argv[1])
    try:
        text = _result(sys.stdin.read())
    except ServingError as error:
        text = json.dumps({"error": str(error)})
    with os.fdopen(result_fd, "w") as file:
        file.write(text)
    sys.stdout.flush()
    sys.stderr.flush()
    # Libraries end slowly, or crash while they do: what is wanted is written.
    os._exit(0)


def _result(text: str) -> str:
    # Imported only now, so that a crash of an import is reported, too.
    from mindspore_serving.cli.trial.jobs import Job
    from mindspore_serving.cli.trial.servable import try_servable

    return try_servable(Job.from_json(text)).to_json()


if __name__ == "__main__":
    main()
