"""Runs a model while it loads: only runs tell the shapes of its outputs, and the first one takes longer.

What a file says of its inputs is what requests are held to. What it says of its outputs may be missing or wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mindspore_serving import log
from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend.contract import LoadRequest
from mindspore_serving.server.backend.dynamic_batch import SIZES_TO_TRY, batch_varies, rows_to_try, sample_of
from mindspore_serving.tensor import Array, TensorSpec

Run = Callable[[Sequence[Array]], "list[Any]"]
"""Gives what a library gives for arrays."""
ReasonOf = Callable[[Exception], str]
"""What an error of a library says."""
_OTHER_OUTPUTS = (
    "choose outputs that do, runtime_options={'outputs': 'a, b'}, or declare_model(..., with_batch_dim=False)"
)


@dataclass(frozen=True, slots=True)
class Trial:
    """What a model gave.

    Attributes:
        rows: Rows of each run; 0 where the batch is not dynamic.
        results: What each run gave; empty where the model did not run.
    """

    rows: Sequence[int]
    results: Sequence[Sequence[Any]]


def try_model(
    run: Run, inputs: Sequence[TensorSpec], request: LoadRequest, library: str, reason_of: ReasonOf
) -> Trial:
    """Run a model with made-up values.

    Args:
        run: Runs it.
        inputs: What it takes.
        request: How it is declared.
        library: Name of the library.
        reason_of: What its errors say.

    Returns:
        Its results. There are none where the model has dynamic dimensions that are not the batch, and took none of the
        sizes that were tried, which need not be a fault of the model.

    Raises:
        StartUpError: It failed; the text has the reason.
    """
    unbatched = request.without_batch(len(inputs))
    dynamic = batch_varies(inputs, unbatched)
    rows = rows_to_try(request.max_batch_size) if dynamic else [0]
    free = any(-1 in spec.shape[i not in unbatched :] for i, spec in enumerate(inputs))

    def sample(count: int, size: int) -> list[Array]:
        return [sample_of(spec, count, size, i not in unbatched) for i, spec in enumerate(inputs)]

    for size in SIZES_TO_TRY if free else (1,):
        try:
            first = run(sample(rows[0], size))
            break
        except Exception as cause:  # classes of errors of the library have no base of their own
            if not free:
                raise StartUpError(f"{library} cannot run '{request.path}': {reason_of(cause)}") from cause
            reason = reason_of(cause)
    else:
        log.warning(
            "Model %s was tried with made-up values, its dynamic dimensions being %s, and failed, which need not be a "
            "fault: %s. Its first request takes longer",
            request.path,
            " or ".join(map(str, SIZES_TO_TRY)),
            reason,
        )
        return Trial(rows, ())
    return Trial(
        rows, [first, *(_run_more(run, sample(count, size), request.path, reason_of) for count in rows[1:])]
    )


def output_spec(
    declared: TensorSpec, arrays: Sequence[Array], rows: Sequence[int], request: LoadRequest
) -> TensorSpec:
    """An output with the shape that it has.

    A dimension for which the file has no number may have any size, also where it was the same in all runs: it may
    depend on the values. The batch is what the runs say.

    Args:
        declared: What the file says.
        arrays: What each run gave.
        rows: Rows of each run; 0 where the batch is not dynamic.
        request: How the model is declared.

    Raises:
        StartUpError: The batch is dynamic, and the first dimension does not follow it.
    """
    shapes = [array.shape for array in arrays]
    if not shapes:
        return declared
    said = declared.shape if len(declared.shape) == len(shapes[0]) else (-1,) * len(shapes[0])
    shape = [
        sizes[0] if number != -1 and len(set(sizes)) == 1 else -1
        for number, *sizes in zip(said, *shapes, strict=True)
    ]
    if request.with_batch_dim and any(rows):
        if any(one[:1] != (count,) for count, one in zip(rows, shapes, strict=True)):
            raise StartUpError(
                f"Model '{request.path}' gives output '{declared.name}' of the shapes "
                f"{[list(one) for one in shapes]} for {list(rows)} rows, expected a first dimension that follows the "
                f"rows: {_OTHER_OUTPUTS}"
            )
        shape[0] = -1
    elif request.with_batch_dim and shape:
        shape[0] = shapes[0][0]
    return declared._replace(shape=tuple(shape))


def _run_more(run: Run, arrays: Sequence[Array], path: Path, reason_of: ReasonOf) -> list[Any]:
    """A run with further rows.

    Raises:
        StartUpError: It failed, although the file says that there may be any number.
    """
    try:
        return run(arrays)
    except Exception as cause:  # classes of errors of the library have no base of their own
        raise StartUpError(
            f"Model '{path}' says that its batch is dynamic, and runs with one row, but not with more: "
            f"{reason_of(cause)}; export it with a dynamic batch, or declare_model(..., max_batch_size=1)"
        ) from cause
