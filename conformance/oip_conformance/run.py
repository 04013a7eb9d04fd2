"""Runs checks, one after the other."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable

from oip_conformance.check import Check, Deviation, NoReply, NotOffered, Outcome, Remark, Result, Skip
from oip_conformance.rpc import StreamUnimplemented
from oip_conformance.server import Server


class Unreachable(Exception):
    """No server answers."""


def reach(server: Server) -> None:
    """Ask each front end once.

    Raises:
        Unreachable: One does not answer.
    """
    try:
        if server.target.http:
            server.rest.get("/v2/health/live")
        if server.target.grpc:
            reply = server.rpc.call("ServerLive", b"")
            if reply.code.name == "UNAVAILABLE":
                raise NoReply(reply.details)
    except NoReply as error:
        raise Unreachable(f"{server.target.http or server.target.grpc}: {error}") from error
    except Deviation:
        # An answer, even if it is a wrong one: a check will say so.
        return


def run_checks(server: Server, checks: Iterable[Check], done: Callable[[Result], None]) -> list[Result]:
    """Run checks in order; when a malformed request has ended the server, the rest is skipped.

    Args:
        server: The server under test.
        checks: What to run.
        done: Called with each result.
    """
    results = []
    ended_by = ""
    for check in checks:
        if ended_by:
            result = Result(check, Outcome.SKIPPED, reason=f"the server has not answered since {ended_by}")
        else:
            result = run_check(server, check)
            ended_by = check.id if _has_ended(server, result) else ""
        done(result)
        results.append(result)
    return results


def _has_ended(server: Server, result: Result) -> bool:
    if not result.check.hostile or result.outcome is not Outcome.FAIL:
        return False
    try:
        reach(server)
    except Unreachable:
        return True
    return False


def run_check(server: Server, check: Check) -> Result:
    """Run one check; after a malformed request, look whether the server still serves."""
    if not server.speaks(check.transport):
        needed = {"http": "--http", "grpc": "--grpc", "both": "--http and --grpc"}[check.transport]
        return Result(check, Outcome.SKIPPED, reason=f"needs {needed}")
    if check.hostile:
        _learn(server)
    server.trail.clear()
    result = _outcome(server, check)
    if check.hostile and result.outcome in (Outcome.PASS, Outcome.REMARK, Outcome.FAIL):
        result = _after_harm(server, check, result)
    return result


def _outcome(server: Server, check: Check) -> Result:
    try:
        check.run(server)
    except Remark as error:
        return Result(check, Outcome.REMARK, error.expected, error.got, evidence=server.trail.lines())
    except Deviation as error:
        return _failed(server, check, error.expected, error.got)
    except NoReply as error:
        return _failed(server, check, "a reply", str(error))
    except NotOffered as error:
        return Result(check, Outcome.NOT_OFFERED, reason=str(error))
    except StreamUnimplemented as error:
        return Result(check, Outcome.NOT_OFFERED, reason=f"UNIMPLEMENTED {error}")
    except Skip as error:
        return Result(check, Outcome.SKIPPED, reason=str(error))
    except OSError as error:
        return _failed(server, check, "a reply", f"{type(error).__name__}: {error}")
    # A check reads replies of strangers; what surprises it is a deviation, and must not end the program.
    except Exception as error:
        return _failed(server, check, "a reply of the protocol's form", f"{type(error).__name__}: {error}")
    return Result(check, Outcome.PASS)


def _learn(server: Server) -> None:
    """Learn what a good request is before a malformed one: afterwards the server may not answer any more."""
    with contextlib.suppress(Skip, Deviation, NoReply):
        server.inputs()


def _failed(server: Server, check: Check, expected: str, got: str) -> Result:
    return Result(check, Outcome.FAIL, expected, got, evidence=server.trail.lines())


def _after_harm(server: Server, check: Check, result: Result) -> Result:
    try:
        server.still_serves("grpc" if check.transport == "grpc" else "http")
    except Skip:
        return result
    except Deviation as error:
        got = f"{result.got}; then: {error.got}" if result.got else error.got
        expected = f"{result.expected}; then {error.expected}" if result.expected else error.expected
        return Result(check, Outcome.FAIL, expected, got, evidence=server.trail.lines())
    return result
