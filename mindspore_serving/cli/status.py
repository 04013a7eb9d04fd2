"""The verb `status`: how a running server is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mindspore_serving.cli import arguments
from mindspore_serving.cli.errors import CommandError
from mindspore_serving.cli.exit_codes import FAILED, USAGE
from mindspore_serving.cli.output import out

if TYPE_CHECKING:
    from mindspore_serving.cli.watching.source import Question


def status(
    url: Annotated[
        str,
        typer.Argument(
            metavar="[ADDRESS]",
            help="The REST or admin server, as of --url of the other verbs.",
            envvar="SERVING_URL",
        ),
    ] = arguments.DEFAULT_URL,
    watching: Annotated[
        bool, typer.Option("--watch", "-w", help="A live screen; q or Ctrl+C ends it.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", "-e", help="Say what stands out, and what to try.")
    ] = False,
    servable: Annotated[str, typer.Option("--servable", metavar="NAME", help="Only this servable.")] = "",
    window: Annotated[
        str,
        typer.Option(
            "--window",
            help="Whose figures methods have: 10s, 1m, 5m, or start. [default: 1m, of --watch 10s]",
        ),
    ] = "",
    interval: Annotated[
        float, typer.Option("--interval", min=0.1, help="Seconds between two looks of --watch.")
    ] = 1.0,
    api_key: arguments.ApiKey = "",
    tls: arguments.Tls = False,
    ca: arguments.Ca = "",
    timeout: arguments.Timeout = 10.0,
    as_json: arguments.Json = False,
) -> None:
    """Show how a running server is: what is ready, rates, latencies by phase, queues, restarts.

    Figures are of the last seconds and minutes. Percentiles are estimates: times are counted in buckets. Rates and
    percentiles of all requests are in the first table; the methods below are the busiest ones. `batch` is the mean
    number of instances of a batch, `padding` the share of rows that models compute only to fill up batches.

    --explain adds what stands out: where the time goes, what fails, which limits are near, and what to try.

    Example: mindspore-serving status

    Example: mindspore-serving status http://127.0.0.1:1500 --explain

    Example: mindspore-serving status --watch --servable lenet

    Example: mindspore-serving status --json | python -m json.tool

    Exit codes: 0 ready, 1 not ready, 2 wrong use, 3 no server, 4 refused. After --watch, those of the last look.
    """
    from mindspore_serving.cli.asking.address import access_of, parse_address
    from mindspore_serving.cli.watching.source import Question, ask_once
    from mindspore_serving.cli.watching.tables import WINDOWS

    if window not in ("", *WINDOWS):
        raise CommandError(
            f"--window '{window}' is not known: expected {', '.join(WINDOWS)}", exit_code=USAGE
        )
    question = Question(parse_address(url, tls=tls), access_of(api_key, ca), timeout, servable, explain)
    if watching:
        raise typer.Exit(_watched(question, window or "10s", interval, as_json=as_json))
    document = ask_once(question)
    if as_json:
        out.print_json(data=document)
    else:
        from mindspore_serving.cli.watching.tables import whole_status

        out.print(whole_status(document, str(question.address), window or "1m"))
    if not document.get("ready"):
        raise typer.Exit(FAILED)


def _watched(question: Question, window: str, interval: float, *, as_json: bool) -> int:
    """Show it again and again; returns the exit code."""
    if as_json:
        raise CommandError(
            "--watch draws a screen, and --json prints one document", "Give one of them.", USAGE
        )
    if not out.is_terminal:
        raise CommandError(
            "--watch draws on a terminal, and standard output is none",
            "In a script, call `mindspore-serving status --json` again and again.",
            USAGE,
        )
    from mindspore_serving.cli.watching.screen import watch

    return watch(out, question, window, interval)
