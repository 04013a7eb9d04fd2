"""The verb `init`: from a model file to a server, a client and a test."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from mindspore_serving.cli import arguments
from mindspore_serving.cli.errors import CommandError
from mindspore_serving.cli.exit_codes import USAGE
from mindspore_serving.cli.model_key import checked_key
from mindspore_serving.cli.output import err, out

if TYPE_CHECKING:
    from mindspore_serving.cli.starting.texts import Plan

_MEASURED_S = 1e-3
"""The model is run, to see with which sizes it does; how long that takes does not matter."""


def init(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A model file: MindIR, MindSpore Lite, ONNX or Paddle.")
    ],
    name: Annotated[str, typer.Option("--name", help="Of the servable. [default: that of the file]")] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="New folder. [default: NAME_serving]")
    ] = None,
    link: Annotated[
        bool, typer.Option("--link", help="Link to the model file, instead of a copy of it.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
    lite: Annotated[
        bool, typer.Option("--lite", help="Run the model with MindSpore Lite to see its types.")
    ] = False,
    dec_key_file: arguments.DecKeyFile = "",
    dec_mode: arguments.DecMode = "AES-GCM",
    as_json: arguments.Json = False,
) -> None:
    """Write a servable, a start script, a client and a test for a model file. They run as written.

    The model is loaded once, in a process of its own, to learn the names and types of its inputs and outputs. It is
    copied into the folder of version 1.

    Example: mindspore-serving init lenet.onnx

    Exit codes: 0 written, 1 the model cannot be loaded, 2 wrong use, or files are there already.
    """
    from mindspore_serving.cli.checking.places import model_at
    from mindspore_serving.cli.starting.names import servable_name
    from mindspore_serving.cli.starting.project import check_free, place_model, plan_of, texts_of, write_texts
    from mindspore_serving.cli.starting.texts import Encryption
    from mindspore_serving.cli.trial.jobs import Job
    from mindspore_serving.cli.trial.process import run_trial

    key = checked_key(dec_key_file, dec_mode)
    place = model_at(model.absolute())
    name = name or servable_name(place.path)
    if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
        raise CommandError(
            f"--name '{name}': expected letters, digits and _, and no digit first", exit_code=USAGE
        )
    folder = output or Path(f"{name}_serving")
    if not force:
        check_free(folder, name, place)
    with err.status(f"Loading {place.path.name}"):
        job = Job(str(place.path), enable_lite=lite, seconds=_MEASURED_S, most_rows=1)
        found = run_trial(replace(job, dec_key=key.hex(), dec_mode=dec_mode))
    encryption = Encryption(str(Path(dec_key_file).absolute()), len(key), dec_mode) if key else None
    plan = plan_of(name, place, found, encryption)
    place_model(folder, name, place, link=link)
    texts = texts_of(plan)
    write_texts(folder, texts)
    if as_json:
        out.print_json(
            data={
                "folder": str(folder),
                "servable": name,
                "files": sorted([f"{name}/1/{place.path.name}", *texts]),
                "inputs": dict(zip(plan.parameters, (one.name for one in plan.model.inputs), strict=True)),
                "outputs": {name: plan.model.outputs[place].name for name, place in plan.outputs},
            }
        )
        return
    _tell(folder, plan, link)


def _tell(folder: Path, plan: Plan, link: bool) -> None:
    """Print what was written, and what to do next."""
    how = "a link" if link else "a copy"
    out.print(f"{folder}/", markup=False)
    for path, what in (
        (f"{plan.name}/1/{plan.file}", f"the model, {how}"),
        (
            f"{plan.name}/servable_config.py",
            "what clients can call: the place for Python before and after the model",
        ),
        ("serving_server.py", "starts the server"),
        ("client.py", "asks it, with made-up values"),
        (f"test_{plan.name}.py", "starts it, asks it, and checks types and shapes"),
    ):
        out.print(f"  {path:<36} {what}", markup=False, soft_wrap=True)
    renamed = [
        f"{parameter} (in the file {tensor.name!r})"
        for parameter, tensor in zip(plan.parameters, plan.model.inputs, strict=True)
        if parameter != tensor.name
    ]
    if renamed:
        out.print(f"Clients send {', '.join(renamed)}.", markup=False, soft_wrap=True)
    if plan.model.not_timed:
        err.print(
            f"[yellow]Warning:[/yellow] the model does not run with made-up values ({escape(plan.model.not_timed)}): "
            "write real ones into client.py before you run the test.",
            soft_wrap=True,
        )
    out.print("Next:", style="bold")
    check = f"mindspore-serving check {plan.name}"
    for command in (
        f"cd {folder}",
        check if plan.encryption is None else f"{check} {plan.encryption.options}",
        "python serving_server.py",
        "python client.py",
        f"python -m pytest test_{plan.name}.py",
    ):
        out.print(f"  {command}", markup=False, soft_wrap=True)
