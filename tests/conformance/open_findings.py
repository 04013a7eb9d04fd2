"""Cases that fail today: where the product departs from the contract, and nobody has decided that it should.

Each is expected to fail, strictly: who mends the product removes the line.
"""

from __future__ import annotations

OPEN_FINDINGS: dict[str, str] = {}
