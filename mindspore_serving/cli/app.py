"""The command line as a whole: which verbs there are, and how each of them ends."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer

import mindspore_serving
from mindspore_serving.cli.bench import bench
from mindspore_serving.cli.check import check
from mindspore_serving.cli.errors import CommandError
from mindspore_serving.cli.exit_codes import INTERRUPTED
from mindspore_serving.cli.infer import infer
from mindspore_serving.cli.init import init
from mindspore_serving.cli.models import models
from mindspore_serving.cli.output import out, report
from mindspore_serving.cli.serve import serve
from mindspore_serving.cli.status import status

app = typer.Typer(
    name="mindspore-serving",
    help="Serve models over gRPC and REST, and look after what is served.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _of_every_verb() -> None:
    """Serve models over gRPC and REST, and look after what is served."""


app.command()(serve)
app.command()(init)
app.command()(check)
app.command()(infer)
app.command()(bench)
app.command()(status)
app.add_typer(models)


@app.command()
def version(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON document.")] = False,
) -> None:
    """Print the version."""
    if as_json:
        out.print_json(data={"mindspore_serving": mindspore_serving.__version__})
    else:
        out.print(f"mindspore_serving {mindspore_serving.__version__}")


def main() -> NoReturn:
    """Run the command line of this process."""
    try:
        app()
    except CommandError as error:
        report(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    sys.exit(0)
