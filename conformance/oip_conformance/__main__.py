"""``python -m oip_conformance``."""

import sys

from oip_conformance.command import main

if __name__ == "__main__":
    sys.exit(main())
