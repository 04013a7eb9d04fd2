"""What a thread of Serving itself does with an error that nobody expected."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import ParamSpec

from mindspore_serving import log

EXIT_BROKEN = 5

_P = ParamSpec("_P")


def ends_process(run: Callable[_P, None]) -> Callable[_P, None]:
    """Let an error in the body of a thread end the process.

    A worker without the thread would hold its instances for ever; one that is gone gives them to others.
    """

    @functools.wraps(run)
    def body(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            run(*args, **kwargs)
        except BaseException:  # whatever it is, nobody else would see it
            log.error("A thread of this worker failed, the worker ends", exc_info=True)
            os._exit(EXIT_BROKEN)

    return body
