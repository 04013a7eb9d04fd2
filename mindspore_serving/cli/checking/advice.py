"""What of a trial a user may want to change: pure functions of what was found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mindspore_serving.cli.checking.places import ModelPlace
from mindspore_serving.cli.trial.jobs import BatchTime, Found, MethodFound, ModelFound
from mindspore_serving.options import DECLARED_FORMATS
from mindspore_serving.server.console.status.method_rules import SLOW_STEP_SHARE, slow_step_text

_FASTER = 1.05
"""A file that is less than so many times as fast as another one is as fast, however little their times differ."""
_WIDE = {"float64": "float32", "int64": "int32"}


def warnings_of(found: Found, *, declared: bool = True) -> list[str]:
    """What to look at, each a sentence that says what to do.

    Args:
        found: By a trial.
        declared: Whether there is a servable_config.py, which can say more of its methods.
    """
    return [
        *(text for model in found.models for text in _of_model(model)),
        *(text for method in found.methods for text in _of_method(method, declared)),
    ]


def _of_model(model: ModelFound) -> Iterator[str]:
    if model.not_timed:
        yield f"Model {model.name} was not measured: it does not run with made-up values ({model.not_timed})."
    if not model.with_batch_dim:
        yield (
            f"Model {model.name} has no batch dimension: instances run one by one. Export it with a dynamic first "
            "dimension."
        )
    elif not model.dynamic and model.batch_size > 1:
        cost = f", {model.times[0].ms:.3g} ms" if model.times else ""
        yield (
            f"Model {model.name} takes exactly {model.batch_size} instances: fewer are padded, and cost as much as "
            f"{model.batch_size}{cost}. Export it with a dynamic first dimension."
        )
    elif not model.dynamic and model.batch_size == 1:
        yield (
            f"Model {model.name} takes batches of 1: instances run one by one. Export it with a dynamic first "
            "dimension."
        )
    for tensor in (*model.inputs, *model.outputs):
        if tensor.dtype in _WIDE and len(tensor.shape) > 1:
            yield (
                f"'{tensor.name}' of model {model.name} is {tensor.dtype}: clients and workers move twice the bytes of "
                f"{_WIDE[tensor.dtype]}, and numbers of JSON are converted."
            )


def _of_method(method: MethodFound, declared: bool) -> Iterator[str]:
    if declared and method.untyped:
        yield (
            f"Method {method.name} does not say the types of {', '.join(method.untyped)}: declare them with "
            "register_method(inputs=...), so that wrong requests are refused and clients know what to send."
        )
    if declared and not method.examples:
        yield (
            f"Method {method.name} has no example: register_method(..., examples=[...]) warms it up, and shows clients "
            "what to send."
        )
    if method.not_timed:
        yield f"Method {method.name} was not measured: {method.not_timed}."
    slow = [stage for stage in method.stages if stage.share > SLOW_STEP_SHARE]
    if slow and len(method.stages) > 1:
        kind = "function" if "function" in slow[0].stage else "model"
        yield slow_step_text(slow[0].stage, slow[0].share, method.name, kind)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model file beside others of the same servable.

    Attributes:
        place: The file.
        model: What was found of it; None where it cannot be loaded.
        problem: Why it cannot.
    """

    place: ModelPlace
    model: ModelFound | None
    problem: str = ""

    @property
    def best(self) -> BatchTime | None:
        """Its best batch."""
        return None if self.model is None else self.model.best

    @property
    def label(self) -> str:
        """How people find the file."""
        return f"{self.place.version}/{self.place.path.name}" if self.place.version else self.place.path.name

    def is_within_noise_of(self, winner: Candidate) -> bool:
        """Whether `winner`, which was measured as well, may be faster by chance."""
        assert self.best is not None and winner.best is not None
        noise = self.best.spread + winner.best.spread
        return winner.best.per_s / self.best.per_s < max(_FASTER, 1 + noise)


def fastest(
    candidates: Sequence[Candidate], served: Sequence[str], served_version: int, *, declared: bool = True
) -> str:
    """Which file is the fastest here, and how to switch to it.

    Args:
        candidates: Files that do the same.
        served: Names of the files that the servable declares.
        served_version: The version that was loaded.
        declared: Whether there is a servable_config.py, which says what is served.

    Returns:
        A sentence; "" where there is nothing to compare.
    """
    measured = [one for one in candidates if one.best is not None]
    if len(measured) < 2:
        return ""
    winner = max(measured, key=_instances_per_s)
    close = [one for one in measured if one is not winner and one.is_within_noise_of(winner)]
    now = next(
        (one for one in measured if one.place.path.name in served and one.place.version == served_version),
        None,
    )
    first = f"{winner.label} is the fastest here: {_figures(winner)}"
    if close:
        names = ", ".join(one.label for one in close)
        first += f"; the difference to {names} is within the noise of the measurement"
    if not declared:
        return f"{first}. To serve it: mindspore-serving serve {winner.place.path}"
    if now is winner:
        return f"{first}. It is the one that is served."
    if now in close:
        return f"{first}. {now.label} is served: there is no need to switch."
    if now is not None:
        ratio = _instances_per_s(winner) / _instances_per_s(now)
        first += f". It is {ratio:.2g} times as fast as {now.label}, which is served"
    return f"{first}. {_how_to_switch(winner, served_version)}"


def _instances_per_s(one: Candidate) -> float:
    return one.best.per_s if one.best is not None else 0.0


def _figures(one: Candidate) -> str:
    assert one.best is not None
    return f"{one.best.per_s:,.0f} instances/s in batches of {one.best.rows}"


def _how_to_switch(winner: Candidate, served_version: int) -> str:
    declared = f'declare_model("{winner.place.path.name}", "{DECLARED_FORMATS[winner.place.model_format]}")'
    words = f"To serve it, write {declared} in servable_config.py"
    if winner.place.version and winner.place.version != served_version:
        words += f", and version_number={winner.place.version} in the start script"
    return words + "."
