"""Names of the sockets between the main process and its workers, below the working directory of the main process."""

from __future__ import annotations

SOCKET_DIRECTORY = "unix_socket_files"
_LONGEST_ADDRESS = 90
_KEPT = 40


def master_socket(pid: int) -> str:
    """Relative path of the socket on which the main process listens."""
    return f"{SOCKET_DIRECTORY}/serving_master_{pid}"


def worker_socket(servable: str, version: int, place: str, pid: int) -> str:
    """Relative path to which a worker binds its end of the channel.

    Args:
        servable: Servable name.
        version: Version that it serves.
        place: `device{id}`, or `extra{index}` for a worker without a device of its own.
        pid: Its process id.
    """
    middle = f"version{version}_{place}" if place.startswith("extra") else place
    name = f"serving_worker_{servable}_{middle}_{pid}"
    if len(f"unix:{SOCKET_DIRECTORY}/{name}") > _LONGEST_ADDRESS:
        name = f"{name[:_KEPT]}___{name[-_KEPT:]}"
    return f"{SOCKET_DIRECTORY}/{name}"
