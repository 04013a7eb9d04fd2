"""Exit codes of the command line, for scripts."""

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
"""Ctrl+C."""
