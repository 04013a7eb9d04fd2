"""Start script of an agent; `startup_agents` runs it with the same interpreter."""

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    # Python puts this file's folder first on the path, where MindSpore's imports must not look.
    sys.path[0] = str(Path(__file__).resolve().parents[3])

    from mindspore_serving.server.distributed.agent import main

    exit_code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Skips the clean-up of native libraries, which waits for ranks that may be gone.
    os._exit(exit_code)
