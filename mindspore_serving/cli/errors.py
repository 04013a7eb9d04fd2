"""How a verb of the command line ends that cannot do what was asked."""

from __future__ import annotations

from mindspore_serving.cli.exit_codes import FAILED


class CommandError(Exception):
    """A verb cannot do what was asked.

    Args:
        problem: What is wrong, what was got, what was expected.
        next_step: What to do, as a command where there is one; "" where the problem says it.
        exit_code: One of `exit_codes`.
    """

    def __init__(self, problem: str, next_step: str = "", exit_code: int = FAILED) -> None:
        super().__init__(problem)
        self.problem = problem
        self.next_step = next_step
        self.exit_code = exit_code
