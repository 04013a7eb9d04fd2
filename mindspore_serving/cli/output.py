"""What verbs print: results on stdout, progress and errors on stderr."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from mindspore_serving.cli.errors import CommandError

out = Console(highlight=False)
"""For results."""
err = Console(stderr=True, highlight=False)
"""For progress, warnings and errors."""


def report(error: CommandError) -> None:
    """Print why a verb ends, and what to do next."""
    err.print(Text.assemble(("Error: ", "bold red"), error.problem), soft_wrap=True)
    if error.next_step:
        err.print(Text.assemble(("Next:  ", "bold"), error.next_step), soft_wrap=True)
