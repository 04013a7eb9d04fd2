"""The verb `bench`: load a server, and measure it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mindspore_serving.cli import arguments
from mindspore_serving.cli.errors import CommandError
from mindspore_serving.cli.exit_codes import FAILED, INTERRUPTED, REFUSED, USAGE
from mindspore_serving.cli.output import err, out

if TYPE_CHECKING:
    from mindspore_serving.cli.asking.description import ServerKind
    from mindspore_serving.cli.asking.method import Method
    from mindspore_serving.cli.asking.session import Session, WireRequest
    from mindspore_serving.cli.asking.wire import Instance, Wire
    from mindspore_serving.cli.load.reply_check import ReplyCheck
    from mindspore_serving.cli.load.run import LoadPlan, Outcome
    from mindspore_serving.cli.load.tally import Tally


def bench(
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL", help="The server, as of --url of the other verbs.", envvar="SERVING_URL"
        ),
    ],
    model: Annotated[
        str,
        typer.Option("--model", "-m", metavar="NAME[.METHOD]", help="What is asked. [default: the only one]"),
    ] = "",
    protocol: arguments.Protocol = "auto",
    clients: Annotated[
        int,
        typer.Option(
            "--clients", "-c", min=1, help="Connections; in a closed loop each is a client that waits."
        ),
    ] = 8,
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate", "-r", min=0.001, help="Open loop: so many requests per second, whatever replies do."
        ),
    ] = None,
    even: Annotated[
        bool, typer.Option("--even", help="Requests of an open loop in equal steps, not at random (Poisson).")
    ] = False,
    duration: Annotated[
        float, typer.Option("--duration", "-d", min=0.01, help="Seconds that are measured.")
    ] = 10.0,
    warm_up: Annotated[float, typer.Option("--warm-up", min=0.0, help="Seconds before that.")] = 1.0,
    rows: Annotated[int, typer.Option("--rows", min=1, help="Instances in each request.")] = 1,
    inputs: arguments.Inputs = None,
    instances: arguments.InstancesFile = "",
    size: Annotated[
        int, typer.Option("--size", min=1, help="Of dimensions of any size, in made-up values.")
    ] = 16,
    expect: Annotated[
        str, typer.Option("--expect", metavar="FILE", help="Right results, as `infer --json` prints them.")
    ] = "",
    version: arguments.ModelVersion = "",
    seed: Annotated[int, typer.Option("--seed", help="Of what is drawn.")] = 0,
    json_file: Annotated[
        str, typer.Option("--json", metavar="FILE", help="Write all figures as JSON; - prints them.")
    ] = "",
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE.png", help="Draw latencies and replies (extra `bench`)."),
    ] = None,
    api_key: arguments.ApiKey = "",
    tls: arguments.Tls = False,
    ca: arguments.Ca = "",
) -> None:
    """Load a server, and measure latencies and rate.

    It may be this server, or another one of the Open Inference Protocol or v1: Triton, MLServer, TensorFlow Serving.

    Without --rate the loop is closed: --clients wait for their replies. With --rate it is open: latencies count from
    the time when a request was due, so a server that stalls is charged with all that it has kept waiting. What is sent
    is -i or --instances, the server's example, or made-up values of the types that the server reports. Replies are
    checked. Ctrl+C shows the figures so far.

    Example: mindspore-serving bench http://127.0.0.1:1500 --model lenet --clients 32

    Example: mindspore-serving bench grpc://127.0.0.1:8001 --protocol oip --rate 500 --plot latency.png

    Exit codes: 0 all replies were right, 1 some were not, 2 wrong use, 3 no server, 4 refused, 130 interrupted.
    """
    from mindspore_serving.cli.asking.address import access_of, parse_address
    from mindspore_serving.cli.asking.description import kind_of
    from mindspore_serving.cli.asking.session import open_session
    from mindspore_serving.cli.asking.wire import wire_of
    from mindspore_serving.cli.infer import default_protocol
    from mindspore_serving.cli.load.plot import check_plot
    from mindspore_serving.cli.load.run import LoadPlan

    if plot is not None:
        check_plot(plot)
    access = access_of(api_key, ca)
    with open_session(parse_address(url, tls=tls), access, 60.0) as session:
        kind = kind_of(session)
        method = _method(session, kind, model, version)
        chosen = protocol if protocol != "auto" else default_protocol(kind.speaks, method)
        wire = wire_of(chosen, session.over)
        asked = _instances(method, inputs or (), instances, size)
        groups = _groups(asked, rows)
        requests = [_request(wire, method, group) for group in groups]
        expected = _expected(expect, asked, rows)
        checks = _checks(wire, method, groups, expected)
        _check_first(session, wire, method, requests[0])
        plan = LoadPlan(session.address, access, requests, clients, duration, warm_up, rate, even, seed)
    tally, outcome = _measured(plan, checks)
    document = _report(plan, method, chosen, rows, tally, outcome, json_file, plot)
    if outcome.interrupted:
        raise typer.Exit(INTERRUPTED)
    if document["errors"] or not document["right"]:
        raise typer.Exit(FAILED)


def _method(session: Session, kind: ServerKind, name: str, version: str) -> Method:
    """What is asked: what the user names, or the only thing that is there.

    Raises:
        CommandError: There are several, or there is none of this name.
    """
    from mindspore_serving.cli.asking.description import method_of, methods_of

    if not name:
        there = [one.model for one in methods_of(session, kind)]
        if len(there) != 1:
            raise CommandError(
                f"The server serves {', '.join(there) or 'nothing'}",
                "Choose one with --model NAME[.METHOD].",
                USAGE,
            )
        name = there[0]
    return method_of(session, kind, name, version)


def _instances(method: Method, inputs: Sequence[str], file: str, size: int) -> list[Instance]:
    from mindspore_serving.cli.asking.made_up import made_up
    from mindspore_serving.cli.asking.values import instances_of, read_instances

    if inputs and file:
        raise CommandError("--input and --instances both say what is sent", "Give one of them.", USAGE)
    if inputs or file:
        return instances_of(method, inputs, read_instances(file) if file else ())
    if method.example is not None:
        return instances_of(method, (), [method.example])
    if not method.typed:
        raise CommandError(
            f"The server does not tell what {method.model} takes", "Give -i NAME=VALUE.", USAGE
        )
    return [{one.name: made_up(one, size) for one in method.inputs}]


def _groups(instances: Sequence[Instance], rows: int) -> list[list[Instance]]:
    """The instances of each request; all of them are sent, as often as each other."""
    if rows == 1 or len(instances) == 1:
        return [[one] * rows for one in instances]
    count = len(instances)
    return [[instances[(start + row) % count] for row in range(rows)] for start in range(0, count, rows)]


def _request(wire: Wire, method: Method, group: Sequence[Instance]) -> WireRequest:
    requests = wire.requests(method, group)
    if len(requests) != 1:
        raise CommandError(
            f"{method.model} has no dimension of rows: a request of this protocol is one instance",
            "Leave out --rows, or take --protocol native.",
            USAGE,
        )
    return requests[0]


def _expected(file: str, instances: Sequence[Instance], rows: int) -> list[list[Mapping[str, Any]]] | None:
    """The right results of each request; None for any."""
    if not file:
        return None
    try:
        document = json.loads(Path(file).read_text())
        results = document["results"] if isinstance(document, dict) else document
    except (OSError, ValueError, KeyError) as cause:
        raise CommandError(
            f"--expect '{file}' cannot be read: {cause!r}", "Write it with `infer --json`.", USAGE
        ) from cause
    if len(results) != len(instances):
        raise CommandError(
            f"--expect '{file}' has {len(results)} results, and {len(instances)} instances are sent",
            exit_code=USAGE,
        )
    return _groups(results, rows)


def _checks(
    wire: Wire,
    method: Method,
    groups: Sequence[Sequence[Instance]],
    expected: Sequence[Sequence[Mapping[str, Any]]] | None,
) -> list[ReplyCheck]:
    from mindspore_serving.cli.load.reply_check import ReplyCheck

    return [
        ReplyCheck(wire, method, len(group), expected[number] if expected else None)
        for number, group in enumerate(groups)
    ]


def _check_first(session: Session, wire: Wire, method: Method, request: WireRequest) -> None:
    """Ask once, so that the user reads at once what is wrong.

    Raises:
        CommandError: The server refuses it.
    """
    step = "Give values that it takes: -i NAME=VALUE."
    try:
        results = wire.results(method, session.ask(request))
    except CommandError as error:
        raise CommandError(error.problem, error.next_step or step, error.exit_code) from error
    for result in results:
        if set(result) == {"error"}:
            raise CommandError(f"{method.model} fails: {result['error']}", step, REFUSED)


def _measured(plan: LoadPlan, checks: Sequence[ReplyCheck]) -> tuple[Tally, Outcome]:
    """Run the load, with a bar while it runs."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from mindspore_serving.cli.load.run import run_load
    from mindspore_serving.cli.load.tally import Tally

    tally = Tally(checks, plan.warm_up_s)
    total = plan.warm_up_s + plan.seconds
    columns = (BarColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("", total=total)
        before = [0.0, 0]

        def tick(passed: float) -> None:
            rate = (tally.now - before[1]) / max(1e-9, passed - before[0])
            before[:] = passed, tally.now
            errors = tally.errors.total()
            words = f"{rate:,.0f} replies/s, p99 {tally.latency.percentile(0.99) * 1e3:.3g} ms"
            progress.update(
                task, completed=passed, description=words + (f", {errors} errors" if errors else "")
            )

        outcome = run_load(plan, tally, tick)
    return tally, outcome


def _report(
    plan: LoadPlan,
    method: Method,
    protocol: str,
    rows: int,
    tally: Tally,
    outcome: Outcome,
    json_file: str,
    plot: Path | None,
) -> dict[str, Any]:
    from mindspore_serving.cli.load.plot import draw
    from mindspore_serving.cli.load.report import document_of, show

    document = document_of(plan, method, protocol, rows, tally, outcome)
    if json_file == "-":
        out.print_json(data=document)
    else:
        show(out, document)
    if json_file not in ("", "-"):
        try:
            Path(json_file).write_text(json.dumps(document, indent=1) + "\n")
        except OSError as cause:
            raise CommandError(f"--json '{json_file}' cannot be written: {cause}") from cause
    if plot is not None:
        draw(plot, document, tally.latency)
    for note in outcome.notes:
        err.print(f"Note: {note}", soft_wrap=True, markup=False)
    return document
