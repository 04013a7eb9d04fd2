"""A distributed worker that runs in the test: it tells processes that start agents what to start, and no more."""

from __future__ import annotations

import contextlib
import socket
import threading

from mindspore_serving.server.channel.agent_messages import AgentHello, AgentSettings, FromAgent
from mindspore_serving.server.channel.cluster_messages import Challenge, Welcome
from mindspore_serving.server.channel.frames import FROM_AGENT, FrameSplitter, frame_of, message_of
from mindspore_serving.server.cluster.token import proof

_NONCE = "a nonce"


class FakeWorker:
    """Listens from the beginning to `close`, and to `vanish`.

    Args:
        address: `ip:port` to listen on.
        ranks: Number of ranks; all are on this machine.

    Attributes:
        received: All messages from the processes that start agents.
    """

    def __init__(self, address: str, ranks: int) -> None:
        self.received: list[FromAgent] = []
        self._settings = AgentSettings(
            "sharded", ("127.0.0.1",) * ranks, tuple(range(ranks)), ("",) * ranks, True, (), 8
        )
        ip, _, port = address.rpartition(":")
        self._listening = socket.create_server((ip, int(port)))
        self._peers: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, name="fake worker", daemon=True)
        self._thread.start()

    def stop_listening(self) -> None:
        """Refuse all that come from now on."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()

    def close(self) -> None:
        """End everything; safe to call twice."""
        self.stop_listening()
        for peer in self._peers:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
            peer.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listening.accept()
                self._peers.append(peer)
                peer.sendall(frame_of(Challenge(_NONCE)))
                threading.Thread(
                    target=self._serve, args=(peer,), name="fake worker peer", daemon=True
                ).start()

    def _serve(self, peer: socket.socket) -> None:
        splitter = FrameSplitter()
        with contextlib.suppress(OSError):
            while data := peer.recv(1 << 16):
                for kind, body in splitter.feed(data):
                    message = message_of(kind, body, FROM_AGENT)
                    self.received.append(message)
                    if isinstance(message, AgentHello):
                        shown = proof("", "distributed worker", _NONCE, message.nonce)
                        peer.sendall(frame_of(Welcome(shown)) + frame_of(self._settings))
