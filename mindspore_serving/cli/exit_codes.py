"""Exit codes of the command line, for scripts."""

import signal

OK = 0
FAILED = 1
"""What was asked for was done, and the answer is no: a check that found an error, a server that is not ready."""
USAGE = 2
"""The command line, or a file that it names, is wrong; nothing was done."""
NOT_REACHED = 3
"""No server answers at the address."""
REFUSED = 4
"""A server answered, and refused what was asked."""
INTERRUPTED = 130
"""Ctrl+C, before what was asked for was done."""
TERMINATED = 143
"""SIGTERM, before what was asked for was done."""
AFTER_SIGNAL: dict[int, int] = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: TERMINATED}
