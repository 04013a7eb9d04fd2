"""Starts the reference server, and runs checks on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from oip_conformance.areas import all_checks
from oip_conformance.check import Check, Result
from oip_conformance.run import run_check
from oip_conformance.server import Server, Target
from oip_conformance.tensors import DATATYPES

from .reference import rest, rpc
from .reference.core import Core

ALSO = tuple(f"echo_{name.lower()}" for name in DATATYPES)


@contextlib.contextmanager
def serving(
    *quirks: str, rest_edit: rest.Edit | None = None, rpc_edit: rpc.Edit | None = None, base: str = ""
) -> Iterator[Server]:
    """Serve, and return what checks are run on."""
    core = Core(frozenset(quirks))
    http = rest.serve(rest.Front(core, rest_edit, base))
    grpc_server, port = rpc.serve(rpc.Front(core, rpc_edit))
    target = Target(
        model="add",
        http=f"http://127.0.0.1:{http.server_port}{base}",
        grpc=f"127.0.0.1:{port}",
        also=ALSO,
        spare="echo_int8",
        timeout_s=5.0,
        settle_s=0.2,
        large=0.02,
    )
    server = Server(target)
    try:
        yield server
    finally:
        server.close()
        grpc_server.stop(None)
        http.shutdown()
        http.server_close()


def chosen(*patterns: str) -> tuple[Check, ...]:
    """Return the checks whose ids match one of the patterns."""
    return tuple(check for check in all_checks() if any(fnmatchcase(check.id, each) for each in patterns))


def results_of(server: Server, checks: Sequence[Check]) -> dict[str, Result]:
    """Run checks, and return their results by id."""
    return {check.id: run_check(server, check) for check in checks}
