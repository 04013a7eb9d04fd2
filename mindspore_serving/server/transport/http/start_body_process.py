"""Start script of the process that reads large bodies; the main process runs it with the same interpreter."""

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    # Python puts this file's folder first on the path, where modules have the names of others.
    sys.path[0] = str(Path(__file__).resolve().parents[4])

    from mindspore_serving.server.transport.http.body_process import main

    main()
    os._exit(0)
