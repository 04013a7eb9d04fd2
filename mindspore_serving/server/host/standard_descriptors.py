"""Descriptors 0, 1 and 2, which belong to stdin, stdout and stderr also where a program was started without them.

Else they would be the numbers of the next files that are opened, sockets of Serving for example, and whatever prints or
reads would do so there.
"""

from __future__ import annotations

import os


def open_standard_descriptors() -> None:
    """Open /dev/null in the place of each standard descriptor that is closed; those that are open stay as they are."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is taken, and those below this one are open by now.
            os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)
            os.set_inheritable(number, True)
