"""Start script of an agent; `startup_agents` runs it with the same interpreter."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # Python puts this file's folder first on the path, where MindSpore's imports must not look.
    sys.path[0] = str(Path(__file__).resolve().parents[3])

    from mindspore_serving.server.distributed.agent import main

    main()
