"""A client of gRPC that sends some bytes and waits until it is ended; a program of its own, so that it can be killed.

Arguments are the port, the file of the certificate that is trusted (empty without TLS), how many bytes of stdin are to
be sent, and whether to wait for data of a reply. A further line of stdin resets the connection.
"""

from __future__ import annotations

import socket
import ssl
import struct
import sys
from typing import BinaryIO

_DATA = 0
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


def main() -> None:
    """Connect, send, say so, wait."""
    port, authority, size, waits = sys.argv[1:]
    plain = socket.create_connection(("127.0.0.1", int(port)))
    connection: socket.socket = plain
    if authority:
        context = ssl.create_default_context(cafile=authority)
        context.set_alpn_protocols(["h2"])
        connection = context.wrap_socket(plain, server_hostname="localhost")
    connection.sendall(sys.stdin.buffer.read(int(size)))
    with connection.makefile("rb") as source:
        while waits == "True" and _next_kind(source) != _DATA:
            continue
        print("sent", flush=True)
        if sys.stdin.readline():
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
    connection.close()


def _next_kind(source: BinaryIO) -> int:
    """Read a frame of HTTP/2; returns its kind."""
    head = source.read(9)
    source.read(int.from_bytes(head[:3], "big"))
    return head[3]


if __name__ == "__main__":
    main()
