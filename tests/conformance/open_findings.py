"""Cases that fail today: where the product departs from the contract, and nobody has decided that it should.

Each is expected to fail, strictly: who mends the product removes the line.
"""

from __future__ import annotations

OPEN_FINDINGS = {
    "5.5-enable_lite-subgraphs": "there is no backend for MindSpore Lite",
    "12.2-enable_lite+4.2-enable_lite": "enable_lite=True is refused: there is no backend for MindSpore Lite",
}
