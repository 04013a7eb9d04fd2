"""The command line."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from oip_conformance.areas import all_checks
from oip_conformance.check import Check, Deviation, NoReply, Outcome, Result, Skip, Tier
from oip_conformance.matrix import matrix_of, read_run
from oip_conformance.report import as_json, line_of, summary_of
from oip_conformance.rpc import expect_ok
from oip_conformance.run import Unreachable, reach, run_checks
from oip_conformance.server import Server, Target, TensorSpec
from oip_conformance.tensors import DATATYPES

PASSED, FAILED, UNUSABLE = 0, 1, 2

_DESCRIPTION = """\
Checks any server of the Open Inference Protocol v2, over REST and gRPC, from the specification.

It learns the model's tensors from its metadata, sends good and malformed requests, and says for each rule: pass,
remark (the rule is kept to the letter only: a malformed request is refused as if the server had failed, for example),
fail (with what was expected, what came, and where the rule stands), not offered (an extension that the server has
not), or skipped (the reason says what is missing). Use it on a test server: it sends malformed requests."""

_EPILOG = """\
examples:
  python -m oip_conformance --http http://localhost:8000 --grpc localhost:8001 --model add
  python -m oip_conformance --http http://localhost:8000/base --model add --only refused
  python -m oip_conformance --http ... --grpc ... --model add --also echo_int8 --also echo_bytes --json mine.json
  python -m oip_conformance --matrix mine.json other.json > matrix.md

exit status: 0 no required check failed; 1 one or more did; 2 wrong usage, or the server cannot be reached"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="oip_conformance",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    server = parser.add_argument_group("the server")
    server.add_argument(
        "--http", default="", metavar="URL", help="REST: http://HOST:PORT, and the path before /v2, if any"
    )
    server.add_argument("--grpc", default="", metavar="HOST:PORT", help="gRPC, without TLS")
    server.add_argument("--model", default="", metavar="NAME", help="the model that is asked")
    server.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="NAME",
        help="a further model, for datatypes that the first does not take; best one that returns its one input; "
        "may be repeated",
    )
    server.add_argument(
        "--spare", default="", metavar="NAME", help="a model that may be unloaded and loaded again"
    )
    server.add_argument(
        "--shape",
        action="append",
        default=[],
        metavar="NAME:1,3",
        help="shape sent for an input; by default free dimensions are 2, or the first size that is accepted; "
        "may be repeated",
    )
    server.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="NAME:FP32:-1,3",
        help="an input of the model, where the metadata lists none; may be repeated",
    )
    server.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="NAME:VALUE",
        help="sent with every request, as header or metadata",
    )
    server.add_argument("--timeout", type=float, default=10.0, metavar="S", help="limit of one request (10)")
    what = parser.add_argument_group("what to do")
    what.add_argument(
        "--only", default="", metavar="TEXT", help="only checks whose id, area, tier or title has this text"
    )
    what.add_argument("--list", action="store_true", help="print the checks with their rules, and end")
    what.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    what.add_argument(
        "--strict", action="store_true", help="a remark on a required check counts as a failure"
    )
    what.add_argument("--quiet", action="store_true", help="print only failures and the totals")
    what.add_argument(
        "--matrix",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="print files of --json as one Markdown page, and end",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        if options.matrix:
            print(matrix_of([read_run(path) for path in options.matrix], all_checks()), end="")
            return PASSED
        checks = chosen(options.only)
        if options.list:
            _print_list(checks)
            return PASSED
        target = target_of(options)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    return _check(target, checks, options)


def chosen(text: str) -> tuple[Check, ...]:
    """Return the checks that have the text.

    Raises:
        ValueError: None has.
    """
    wanted = text.lower()
    found = tuple(
        check
        for check in all_checks()
        if wanted in " ".join((check.id, check.area, check.tier.value, check.title)).lower()
    )
    if not found:
        raise ValueError(f"--only {text!r}: no check has this text; --list prints them")
    return found


def _print_list(checks: Sequence[Check]) -> None:
    for check in checks:
        print(
            f"{check.id}  [{check.tier.value}, {check.transport}]  {check.title}\n    {check.says}\n    {check.source}"
        )
    print(f"{len(checks)} checks")


def target_of(options: argparse.Namespace) -> Target:
    """Return the target of the options.

    Raises:
        ValueError: An option is missing or wrong; the text names it.
    """
    if not options.model:
        raise ValueError("--model NAME is missing: the model that is asked")
    if not options.http and not options.grpc:
        raise ValueError("neither --http URL nor --grpc HOST:PORT is given")
    if options.timeout <= 0:
        raise ValueError(f"--timeout {options.timeout}: expected more than 0 seconds")
    return Target(
        model=options.model,
        http=options.http,
        grpc=options.grpc,
        also=tuple(options.also),
        spare=options.spare,
        shapes=dict(_shape(text) for text in options.shape),
        inputs=tuple(_input(text) for text in options.input),
        timeout_s=options.timeout,
        headers=tuple(_header(text) for text in options.header),
    )


def _sizes(text: str, option: str, least: int) -> tuple[int, ...]:
    try:
        sizes = tuple(int(size) for size in text.split(",") if size)
    except ValueError:
        sizes = (least - 1,)
    if any(size < least for size in sizes):
        raise ValueError(
            f"{option}: {text!r} is not a shape; expected whole numbers of {least} or more, as 1,3"
        )
    return sizes


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, separator, sizes = text.rpartition(":")
    if not separator:
        raise ValueError(f"--shape {text!r}: expected NAME:1,3")
    return name, _sizes(sizes, "--shape", 0)


def _input(text: str) -> TensorSpec:
    parts = text.rsplit(":", 2)
    if len(parts) != 3 or parts[1] not in DATATYPES:
        raise ValueError(
            f"--input {text!r}: expected NAME:DATATYPE:-1,3, DATATYPE one of {', '.join(DATATYPES)}"
        )
    return TensorSpec(parts[0], parts[1], _sizes(parts[2], "--input", -1))


def _header(text: str) -> tuple[str, str]:
    name, separator, value = text.partition(":")
    if not separator:
        raise ValueError(f"--header {text!r}: expected NAME:VALUE")
    return name.strip(), value.strip()


def _check(target: Target, checks: Sequence[Check], options: argparse.Namespace) -> int:
    try:
        server = Server(target)
    except ValueError as error:
        print(f"oip_conformance: {error}", file=sys.stderr)
        return UNUSABLE
    try:
        reach(server)
        # Before the checks: a server may not survive them.
        identity = _identity(server)
        results = run_checks(server, checks, _Printer(options.quiet))
    except Unreachable as error:
        print(f"oip_conformance: the server cannot be reached: {error}", file=sys.stderr)
        return UNUSABLE
    finally:
        server.close()
    print(f"\n{summary_of(results)}")
    if options.json:
        told = as_json(identity, results)
        options.json.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    bad = (Outcome.FAIL, Outcome.REMARK) if options.strict else (Outcome.FAIL,)
    return (
        FAILED
        if any(each.outcome in bad and each.check.tier is Tier.REQUIRED for each in results)
        else PASSED
    )


class _Printer:
    """Prints results as they come, under the headings of their areas."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._area = ""

    def __call__(self, result: Result) -> None:
        if self._quiet and result.outcome is not Outcome.FAIL:
            return
        if result.check.area != self._area:
            self._area = result.check.area
            print(f"\n{self._area}")
        print(line_of(result), flush=True)


def _identity(server: Server) -> dict[str, Any]:
    """Return name and version that the server tells, and what was asked."""
    name, version = "", ""
    try:
        if server.target.http:
            found = server.rest.get("/v2").json()
            name, version = str(found.get("name", "")), str(found.get("version", ""))
        else:
            message = expect_ok(server.rpc.call("ServerMetadata", b""))
            name, version = message.name, message.version
    except (Deviation, NoReply, Skip, AttributeError):
        # The report is worth having without the name.
        pass
    return {"name": name, "version": version, "model": server.model, "also": list(server.target.also)}
