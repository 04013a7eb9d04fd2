"""In which order the parts of a server end."""

from __future__ import annotations

from typing import Any

from mindspore_serving.server.start.server import Server


def test_listeners_for_pages_end_last() -> None:
    server = Server()
    rest: Any = "rest"
    supervisor: Any = "supervisor"
    admin: Any = "admin"
    server._front_ends.rest, server._supervisor = rest, supervisor
    server._front_ends.admin["admin"] = admin
    assert [part for part in server._parts() if part is not None] == ["rest", "supervisor", "admin"]
