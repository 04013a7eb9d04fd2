"""The verb `check`: load without serving, and say what there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from mindspore_serving.cli import arguments
from mindspore_serving.cli.errors import CommandError
from mindspore_serving.cli.exit_codes import FAILED, USAGE
from mindspore_serving.cli.model_key import checked_key
from mindspore_serving.cli.output import err, out, report
from mindspore_serving.options import DEVICE_TYPES

if TYPE_CHECKING:
    from mindspore_serving.cli.checking.advice import Candidate
    from mindspore_serving.cli.checking.places import ModelPlace, ServablePlace
    from mindspore_serving.cli.trial.jobs import Found, Job


def check(
    path: Annotated[
        Path, typer.Argument(metavar="DIR|FILE", help="A servable, a folder of servables, or a model file.")
    ],
    version: Annotated[
        int, typer.Option("--version", min=0, help="Version of the servable. [default: the newest]")
    ] = 0,
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds", min=0.0, help="How long each size of a batch is measured; 0 measures none."
        ),
    ] = 0.2,
    device_type: Annotated[
        str, typer.Option("--device-type", help="ascend, gpu or cpu. [default: the first that is there]")
    ] = "",
    lite: Annotated[bool, typer.Option("--lite", help="Run models with MindSpore Lite.")] = False,
    dec_key_file: arguments.DecKeyFile = "",
    dec_mode: arguments.DecMode = "AES-GCM",
    compare: Annotated[
        bool, typer.Option(help="Measure the other formats and versions of the same model, too.")
    ] = True,
    as_json: arguments.Json = False,
) -> None:
    """Load a servable without serving it: types, examples, time per batch size, memory, and what to change.

    It is loaded as a worker loads it, in a process of its own. Where the folder holds the model in other formats or
    versions, all are measured, and the fastest is named. Nothing listens, and nothing is written.

    Example: mindspore-serving check models/lenet

    Exit codes: 0 all is loaded and all examples are answered, 1 not so, 2 wrong use.
    """
    from mindspore_serving.cli.checking.places import places_at
    from mindspore_serving.cli.trial.jobs import Job

    if device_type.lower() not in ("", *DEVICE_TYPES):
        raise CommandError(
            f"--device-type '{device_type}': expected {', '.join(DEVICE_TYPES)}", exit_code=USAGE
        )
    key = checked_key(dec_key_file, dec_mode)
    job = Job(str(path), version, device_type.lower(), lite, seconds, dec_key=key.hex(), dec_mode=dec_mode)
    places = places_at(path)
    documents, failed = [], False
    for place in places:
        try:
            documents.append(_check_one(place, job, compare, as_json))
        except CommandError as error:
            failed = True
            documents.append({"path": str(place.path), "ok": False, "error": error.problem})
            report(error)
    if as_json:
        out.print_json(data=documents[0] if len(documents) == 1 else documents)
    if failed:
        raise typer.Exit(FAILED)


def _check_one(place: ServablePlace, job: Job, compare: bool, as_json: bool) -> dict[str, Any]:
    """Check one servable, or the models of a folder that has no servable_config.py.

    Raises:
        CommandError: It cannot be loaded, or an example fails.
    """
    from mindspore_serving.cli.checking.advice import fastest, warnings_of
    from mindspore_serving.cli.checking.tables import show_candidates, show_found

    found = _found(place, job)
    candidates: Sequence[Candidate] = ()
    if compare and job.seconds and len(place.models) > 1:
        candidates = [_candidate(one, job) for one in place.models]
    served = [name for model in found.models for name in model.name.split(";")]
    warnings = warnings_of(found, declared=place.has_config)
    best = fastest(candidates, served, found.version, declared=place.has_config)
    if not as_json:
        show_found(out, f"{found.servable} version {found.version}", found)
        if best:
            show_candidates(out, candidates)
            out.print(best, soft_wrap=True, markup=False)
        for text in warnings:
            err.print(f"[yellow]Warning:[/yellow] {escape(text)}", soft_wrap=True)
    return _document(place, found, warnings, candidates, best)


def _found(place: ServablePlace, job: Job) -> Found:
    """A trial of a servable; of the first file that loads where it holds several, and nothing says which one is served.

    Raises:
        CommandError: Nothing can be loaded, or an example fails.
    """
    from mindspore_serving.cli.trial.process import run_trial

    if place.has_config or len(place.models) < 2:
        with err.status(f"Loading {place.path.name}"):
            return run_trial(replace(job, path=str(place.path)))
    # The newest version counts.
    ordered = sorted(place.models, key=lambda one: (one.version != job.version, -one.version, one.path))
    problems: list[CommandError] = []
    for one in ordered:
        try:
            with err.status(f"Loading {one.path.name}"):
                found = run_trial(replace(job, path=str(one.path), version=0))
        except CommandError as error:
            problems.append(error)
            continue
        return replace(found, servable=place.path.name, version=one.version or 1)
    raise problems[0]


def _candidate(place: ModelPlace, job: Job) -> Candidate:
    from mindspore_serving.cli.checking.advice import Candidate
    from mindspore_serving.cli.trial.process import run_trial

    try:
        with err.status(f"Measuring {place.path.name}"):
            found = run_trial(replace(job, path=str(place.path), version=0))
    except CommandError as error:
        return Candidate(place, None, error.problem)
    return Candidate(place, found.models[0])


def _document(
    place: ServablePlace, found: Found, warnings: Sequence[str], candidates: Sequence[Candidate], best: str
) -> dict[str, Any]:
    compared = [
        {
            "file": one.label,
            "format": one.place.model_format,
            "best": None if one.best is None else asdict(one.best),
            **({"error": one.problem} if one.problem else {}),
        }
        for one in candidates
    ]
    return {
        "path": str(place.path),
        "ok": True,
        **asdict(found),
        "warnings": list(warnings),
        "compared": compared,
        "fastest": best or None,
    }
