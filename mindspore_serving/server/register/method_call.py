"""`call`: a stage that is a method of another servable of the same server, or another method of the same servable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mindspore_serving.check_type import check_int, check_str
from mindspore_serving.errors import RegistrationError
from mindspore_serving.server.register.definition import StageDefinition, StageKind, ValueRef
from mindspore_serving.server.register.stage import current_trace, placeholders, refs_of
from mindspore_serving.signature import CALL_PREFIX, CalledMethod


def call(
    servable_name: str,
    method: str,
    *args: Any,
    version_number: int = 0,
    outputs_count: int = 1,
    tag: str | None = None,
) -> Any:
    """Add a method of another servable, or another method of this one, to the method that is being registered.

    The instances go to that method as those of clients do: into its queue and its batches, in any of its workers. No
    thread waits for them meanwhile. Calls that stand one after the other, and of which none needs an output of another
    one, run at the same time.

    Args:
        servable_name: Name of a servable that the same server starts.
        method: Name of its method or pipeline.
        args: Its inputs, in the order of the method's parameters: inputs of this method, or outputs of earlier stages.
        version_number: Version of the servable; 0 for the highest one that runs, or for this version of this servable.
        outputs_count: Number of its outputs, at least 1.
        tag: How error texts call the stage; by default `Method 'servable.method'`.

    Returns:
        One placeholder for each output: a single one, or a tuple if `outputs_count` is above 1.

    Raises:
        RuntimeError: A parameter is wrong; the text names it and the method. Whether the servable and the method are
            there, and have so many inputs and outputs, is checked when the server starts.

    Examples:
        >>> @register.register_method(output_names=["label"])
        ... def predict(image):
        ...     box = register.call("detector", "detect", image)
        ...     return register.call("classifier", "predict", image, box)
    """
    definition, trace = current_trace("call")
    check_str("servable_name", servable_name)
    check_str("method", method)
    check_int("version_number", version_number, 0)
    check_int("outputs_count", outputs_count, 1)
    if tag is not None:
        check_str("tag", tag)
    if method.startswith(CALL_PREFIX):
        raise RegistrationError(
            f"Check failed in method '{trace.name}', parameter 'method' of call should be a method that clients can "
            f"call, but actually '{method}'"
        )
    inputs = refs_of(trace, args, "Each value of parameter *args")
    called = CalledMethod(trace.name, servable_name, method, version_number, len(inputs), outputs_count)
    if trace.parameters in inputs:
        raise RegistrationError(
            f"Check failed in method '{trace.name}', the parameters of requests go to Python functions only, now they "
            f"go to method '{called.label}'"
        )
    if (servable_name, method) == (definition.name, trace.name) and not version_number:
        raise RegistrationError(
            f"Check failed in method '{trace.name}', it calls itself, which would never end; call another method"
        )
    trace.stages.append(
        StageDefinition(
            index=len(trace.stages) + 1,
            kind=StageKind.CALL,
            target=called.label,
            function=None,
            inputs=inputs,
            outputs_count=outputs_count,
            takes_batch=False,
            batch_size=0,
            tag=tag or f"Method '{called.label}'",
            called=called,
        )
    )
    outputs = placeholders(trace, len(trace.stages), outputs_count)
    return outputs[0] if outputs_count == 1 else outputs


def with_ways(stages: Sequence[StageDefinition], outputs: Sequence[ValueRef]) -> tuple[StageDefinition, ...]:
    """The stages of a method, and for its calls which inputs and outputs of the method they take and give.

    Args:
        stages: All of them.
        outputs: Where each output of the method comes from.
    """
    models = any(stage.kind is StageKind.MODEL for stage in stages)
    return tuple(_with_ways(stage, outputs, models) for stage in stages)


def _with_ways(stage: StageDefinition, outputs: Sequence[ValueRef], models: bool) -> StageDefinition:
    if stage.called is None:
        return stage
    called = replace(
        stage.called,
        given=tuple(ref.output if ref.stage == 0 else -1 for ref in stage.inputs),
        results=tuple(ref.output if ref.stage == stage.index else -1 for ref in outputs),
        beside_models=models,
    )
    return replace(stage, called=called)
