"""Asks the kernel about one TCP socket of this network, which takes some microseconds however many sockets there are.

The list of all sockets (`socket_table`) is also there where this is not: within sandboxes, or in kernels without it.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import NamedTuple

_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST = 1
_MAPPED = "::ffff:"
_LONGEST_ANSWER = 4096
_TIMEOUT_S = 1.0
_ANY = 0xFFFFFFFF
"""For `idiag_states` and `idiag_cookie` of linux/inet_diag.h: whatever they are."""
_HEAD = struct.Struct("=IHHII")
"""`struct nlmsghdr` of linux/netlink.h."""
_ASKED = struct.Struct("=BBBxI")
"""The beginning of `struct inet_diag_req_v2`."""
_PORTS = struct.Struct("!HH")
_SOCKET = struct.Struct("=III")
"""The end of `struct inet_diag_sockid`: interface and cookie."""
_STATE = struct.Struct("=xB")
_USER_AT = _HEAD.size + 4 + 48 + 12
"""Where `idiag_uid` of `struct inet_diag_msg` stands in the answer."""
_USER = struct.Struct("=I")
_ERROR = struct.Struct("=i")
_NO_SOCKET = _ERROR.pack(-errno.ENOENT)


class FoundSocket(NamedTuple):
    """What the kernel says of a socket.

    Attributes:
        state: As `ESTABLISHED` of `socket_table`, but as a number.
        user: User id of its owner.
    """

    state: int
    user: int


def ask_for_socket(local: tuple[str, int], remote: tuple[str, int]) -> FoundSocket | None:
    """The socket between two addresses, which both are of IPv4 or both of IPv6.

    Args:
        local: Address and port of its own end.
        remote: Those of the other end.

    Returns:
        None where there is no such socket.

    Raises:
        OSError: The kernel cannot be asked.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as link:
        link.settimeout(_TIMEOUT_S)
        link.send(_question(local, remote))
        answer = link.recv(_LONGEST_ANSWER)
    if _HEAD.unpack_from(answer)[1] == _SOCK_DIAG_BY_FAMILY and len(answer) >= _USER_AT + _USER.size:
        [state] = _STATE.unpack_from(answer, _HEAD.size)
        [user] = _USER.unpack_from(answer, _USER_AT)
        return FoundSocket(state, user)
    if answer[_HEAD.size :][: _ERROR.size] == _NO_SOCKET:
        return None
    raise OSError("the kernel does not tell about sockets")


def _question(local: tuple[str, int], remote: tuple[str, int]) -> bytes:
    family = socket.AF_INET6 if ":" in local[0].removeprefix(_MAPPED) else socket.AF_INET
    ends = b"".join(
        socket.inet_pton(family, end[0].removeprefix(_MAPPED)).ljust(16, b"\0") for end in (local, remote)
    )
    asked = (
        _ASKED.pack(family, socket.IPPROTO_TCP, 0, _ANY)
        + _PORTS.pack(local[1], remote[1])
        + ends
        + _SOCKET.pack(0, _ANY, _ANY)
    )
    return _HEAD.pack(_HEAD.size + len(asked), _SOCK_DIAG_BY_FAMILY, _REQUEST, 1, 0) + asked
