"""Start script of a worker process; the main process runs it with the same interpreter."""

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    # Python puts this file's folder first on the path, where a servable's imports must not look.
    sys.path[0] = str(Path(__file__).resolve().parents[3])

    from mindspore_serving.server.worker.process import main

    exit_code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Skips the clean-up of native libraries, which may hang; the channel and all results are done.
    os._exit(exit_code)
