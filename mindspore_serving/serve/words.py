"""The words `stop`, `kill` and `check`."""

from __future__ import annotations

import http.client
import os
import signal
import sys
from typing import Final

from mindspore_serving import __version__
from mindspore_serving.serve.process_record import StartedServer, record_path, started_servers
from mindspore_serving.server.backend.families import supported_device_types

_STOPPED_WITHIN_S: Final = 60.0
_ANSWERS_WITHIN_S: Final = 5.0
_READY: Final = "/v2/health/ready"


def stop(port: int | None, *, kill: bool) -> int:
    """End servers that were started from this folder.

    Args:
        port: Where it listens; None for all of them.
        kill: Whether they are ended at once, and requests in flight with them.

    Returns:
        Exit code: 1 where there is none, or one does not end.

    Raises:
        StartUpError: The record of servers cannot be read.
    """
    path = record_path()
    servers = [one for one in started_servers(path) if port in (None, one.port)]
    if not servers:
        where = "" if port is None else f" on port {port}"
        print(f"No server{where} that was started from {path.parent} runs ({path.name}).", file=sys.stderr)
        return 1
    return max([_end(one, kill=kill) for one in servers])


def _end(one: StartedServer, *, kill: bool) -> int:
    process = one.process
    if process is not None:
        process.send_signal(signal.SIGKILL if kill else signal.SIGINT)
    if not one.wait_until_gone(_STOPPED_WITHIN_S):
        print(
            f"Process {one.pid} on port {one.port} still finishes requests; end it with kill.",
            file=sys.stderr,
        )
        return 1
    print(f"Stopped the server on port {one.port} (process {one.pid}).")
    return 0


def check(port: int) -> int:
    """Say what this machine can run, and whether a server answers.

    Args:
        port: Where a server may listen.

    Returns:
        Exit code: 0 if it is ready, 1 if none is.
    """
    print(f"mindspore_serving {__version__}, Python {sys.version.split()[0]}, {os.cpu_count()} cores")
    print(f"Devices: {', '.join(supported_device_types())}")
    state = _state_of(port)
    print(f"Server on port {port}: {state}")
    return 0 if state == "ready" else 1


def _state_of(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWERS_WITHIN_S)
    try:
        connection.request("GET", _READY)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"none answers ({error})"
    finally:
        connection.close()
    return "ready" if status == http.HTTPStatus.OK else f"not ready (HTTP {status})"
