"""The access log of the server: started by the start script, or by an environment variable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mindspore_serving.errors import InvalidParameter, StartUpError
from mindspore_serving.server.telemetry.access_log.lines import FORMS
from mindspore_serving.server.telemetry.access_log.observer import STDOUT, AccessLog
from mindspore_serving.server.transport.observers import Observers

FORM_VARIABLE: Final = "SERVING_ACCESS_LOG"
FILE_VARIABLE: Final = "SERVING_ACCESS_LOG_FILE"


def check_form(name: str, form: object) -> str:
    """Check the name of a format.

    Args:
        name: Of the parameter, for the error.
        form: Its value.

    Returns:
        The format.

    Raises:
        InvalidParameter: It is none.
    """
    if not isinstance(form, str) or form not in FORMS:
        raise InvalidParameter(f"{name} should be {' or '.join(map(repr, FORMS))}, but got {form!r}")
    return form


class ServerAccessLog:
    """The access log of one server.

    Args:
        observers: Who is told of calls.
    """

    def __init__(self, observers: Observers) -> None:
        self._observers = observers
        self._log: AccessLog | None = None

    def __repr__(self) -> str:
        return f"<ServerAccessLog {self._log}>"

    def start(self, form: str, file: str, *, probes: bool) -> None:
        """Start it.

        Args:
            form: Name of the format.
            file: Path of the file, or `stdout`.
            probes: Whether probes of health are logged, too.

        Raises:
            StartUpError: It is started already, or the file cannot be opened.
        """
        if self._log is not None:
            raise StartUpError(f"Serving Error: the access log is started already: {self._log.name}")
        try:
            started = AccessLog(form, file, probes)
        except OSError as cause:
            raise StartUpError(
                f"Serving Error: the access log '{file}' cannot be opened, it should be a file that this user may "
                f"write, or '{STDOUT}': {cause}"
            ) from cause
        self._log = started
        self._observers.add(started)

    def start_from(self, environment: Mapping[str, str]) -> None:
        """Start it as the environment asks, if that does, and unless it is started.

        Args:
            environment: Name to value.

        Raises:
            InvalidParameter: A variable has a value that it cannot have.
            StartUpError: As `start`.
        """
        form = environment.get(FORM_VARIABLE, "")
        if form and self._log is None:
            check_form(f"Environment variable {FORM_VARIABLE}", form)
            self.start(form, environment.get(FILE_VARIABLE) or STDOUT, probes=False)

    def reopen(self) -> None:
        """Open the file again soon, if it was moved away."""
        if self._log is not None:
            self._log.reopen()

    async def stop(self) -> None:
        """Write what waits, and end it. Safe to call twice."""
        stopped, self._log = self._log, None
        if stopped is not None:
            self._observers.remove(stopped)
            await stopped.stop()
