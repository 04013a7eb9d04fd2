"""The exit code of this process, where it is settled after the script has come to its end.

Python takes no other exit code from then on: not from a function of `atexit`, and not from a thread. `os._exit` would
keep exit functions of the user from running. So the C library is told, which calls its own exit functions when Python
is done.
"""

from __future__ import annotations

import ctypes


def end_with(code: int) -> None:
    """Let this process end with an exit code in place of the one with which Python ends it.

    A signal that ends the process is still told as such. Exit functions of C libraries that were registered before are
    not called.

    Args:
        code: 0 to 255.
    """
    library = ctypes.CDLL(None)
    # Registered last, it is called first, with this argument: nothing comes after it.
    library.__cxa_atexit(library._exit, ctypes.c_void_p(code), None)
