"""Models: how they are declared, and the handle to call them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from mindspore_serving import log
from mindspore_serving.check_type import (
    check_and_as_int_tuple_list,
    check_and_as_str_tuple_list,
    check_bool,
    check_int,
    check_plain_values,
    check_str,
)
from mindspore_serving.deprecation import deprecated
from mindspore_serving.errors import InvalidInput, InvalidParameter, ModelError
from mindspore_serving.options import model_format_of
from mindspore_serving.server.register.context import AclOptions, Context, GpuOptions
from mindspore_serving.server.register.definition import ModelDeclaration
from mindspore_serving.server.register.registry import current, current_or_none

DEFAULT_MAX_BATCH_SIZE = 64

Instances: TypeAlias = Sequence[Sequence[Any]]
Runtime: TypeAlias = Callable[[str, Instances, int], list[tuple[Any, ...]]]
"""Runs instances on a model: (model key, instances, subgraph) to the outputs of each instance.

For a sharded model it checks the subgraph, with `check_subgraph`, as only the loaded model knows how many there are.
"""

_runtime: Runtime | None = None


def set_runtime(runtime: Runtime | None) -> None:
    """Connect `Model.call` to the loaded models of this process."""
    global _runtime
    _runtime = runtime


def check_subgraph(subgraph: object, count: int) -> None:
    """Check the number of a subgraph that is to be called.

    Args:
        subgraph: What the caller gave.
        count: How many subgraphs the model has.

    Raises:
        ModelError: There is no such subgraph.
    """
    if type(subgraph) is not int or not 0 <= subgraph < count:
        raise ModelError(
            f"The model does not have subgraph of index {subgraph}, the subgraph count of the model is {count}"
        )


class Model:
    """Handle of a declared model: a stage of `add_stage`, or callable from Python stage functions.

    Args:
        model_key: File names of the model joined with `;`.
    """

    def __init__(self, model_key: str) -> None:
        self.model_key = model_key

    def __repr__(self) -> str:
        return f"<Model {self.model_key}>"

    def call(self, *args: Any, subgraph: int = 0) -> Any:
        """Run the model from within a stage function while requests are served.

        Args:
            args: The inputs of one instance; or exactly one list or tuple of instances, each a list or tuple of inputs.
                Inputs are what stage functions return. None for a model without inputs.
            subgraph: Which file of the model, from 0 on.

        Returns:
            For one instance, its output, or a tuple of its outputs. For several, a tuple of tuples of outputs.

        Raises:
            RuntimeError: The inputs do not fit the model, or the model failed; the text says why. If one of several
                instances fails, the call fails.
        """
        whole = type(subgraph) is int and subgraph == 0
        plain = f"Model({self.model_key}).call()"
        if not whole:
            plain = f"Model({self.model_key}, subgraph={subgraph}).call()"
        single = not (len(args) == 1 and isinstance(args[0], (list, tuple)))
        instances = [args] if single else _check_instances(args[0], plain)
        try:
            outputs = self._outputs_of(instances, subgraph)
        except InvalidInput as cause:
            if not args:  # only the loaded model knows whether it has inputs
                shown = plain if whole else f"Model({self.model_key} ,subgraph={subgraph}).call()"
                raise ModelError(
                    f"{shown} failed: no inputs provided, the inputs can be call(x1, x2) for single instance or "
                    "call([[x1, x2], [x1, x2]]) for multi instances."
                ) from cause
            raise ModelError(f"{plain} failed: {cause}") from cause
        except RuntimeError as cause:
            raise ModelError(f"{plain} failed: {cause}") from cause
        if not single:
            return tuple(outputs)
        return outputs[0][0] if len(outputs[0]) == 1 else outputs[0]

    def _outputs_of(self, instances: Instances, subgraph: int) -> list[tuple[Any, ...]]:
        definition = current_or_none()
        if definition is None or self.model_key not in definition.models or _runtime is None:
            raise ModelError(
                "the model is not declared, ensure that interface 'declare_model' can take effect when importing "
                "servable_config.py by the serving server"
            )
        declared = definition.models[self.model_key]
        if declared.sharding is None:
            check_subgraph(subgraph, len(declared.files))
        return _runtime(self.model_key, instances, subgraph)


def _check_instances(instances: Instances, label: str) -> Instances:
    if not instances:
        raise ModelError(f"{label} failed: Input instances count is 0")
    if any(not isinstance(instance, (list, tuple)) for instance in instances):
        raise ModelError(
            f"{label} failed: inputs format invalid, the inputs can be call(x1, x2) for single instance or  "
            "call([[x1, x2], [x1, x2]]) for multi instances."
        )
    return instances


def declare_model(
    model_file: str | Sequence[str],
    model_format: str,
    with_batch_dim: bool = True,
    options: AclOptions | GpuOptions | None = None,
    without_batch_dim_inputs: int | Sequence[int] | None = None,
    context: Context | None = None,
    config_file: str | None = None,
    *,
    max_batch_size: int = DEFAULT_MAX_BATCH_SIZE,
    strict_shape: bool = False,
    runtime_options: Mapping[str, str | float] | None = None,
) -> Model:
    """Declare a model of the servable.

    Args:
        model_file: File name in the version directory, or several, one per subgraph.
        model_format: `MindIR`, `MindIR_Lite` (also `MindIR_Opt`), `ONNX`, `Paddle` or `OM`, case ignored.
        with_batch_dim: Whether the first dimension of the model's inputs and outputs is the batch; an instance then has
            the shape without it.
        options: Device options of older releases; ignored where `context` is given.
        without_batch_dim_inputs: Indices of inputs that have no batch dimension although `with_batch_dim` is set. All
            instances of a batch share such a value.
        context: Threads and device options.
        config_file: Configuration file of the backend, relative to the directory of servable_config.py.
        max_batch_size: Largest batch for a file whose first dimension is dynamic. No effect on other files.
        strict_shape: Refuse an instance whose shape is not the model's. Otherwise a shape with as many elements is
            taken for the model's, with a warning in the worker's log.
        runtime_options: Options of the library that runs the model, by name. Which there are is said where its format
            is described; the load of the model checks them.

    Returns:
        Handle of the model.

    Raises:
        RuntimeError: A parameter is wrong, or the model is declared already.
    """
    files = check_and_as_str_tuple_list("model_file", model_file)
    stored_format = model_format_of("model_format", model_format)
    check_bool("with_batch_dim", with_batch_dim)
    check_bool("strict_shape", strict_shape)
    check_int("max_batch_size", max_batch_size, 1)
    definition = current()
    model = ModelDeclaration(
        key=";".join(files),
        files=files,
        model_format=stored_format,
        with_batch_dim=with_batch_dim,
        without_batch_dim_inputs=check_without_batch_dim_inputs(without_batch_dim_inputs),
        context=_context_of(context, options),
        config_file=_config_path(config_file, definition.directory),
        max_batch_size=max_batch_size,
        strict_shape=strict_shape,
        runtime_options=check_plain_values("runtime_options", runtime_options),
    )
    definition.add_model(model)
    log.info("Declare model %s", model)
    return Model(model.key)


@deprecated("1.5.0", "mindspore_serving.server.register.declare_model")
def declare_servable(
    servable_file: str | Sequence[str],
    model_format: str,
    with_batch_dim: bool = True,
    options: Mapping[str, str] | AclOptions | GpuOptions | None = None,
    without_batch_dim_inputs: int | Sequence[int] | None = None,
) -> Model:
    """Declare the model of the servable, for `call_servable`; `declare_model` does the same.

    Args:
        servable_file: File name in the version directory, or several, one per subgraph.
        model_format: As of `declare_model`.
        with_batch_dim: As of `declare_model`.
        options: Device options; a dict stands for the `AclOptions` of its keys and values.
        without_batch_dim_inputs: As of `declare_model`.

    Returns:
        Handle of the model.

    Raises:
        RuntimeError: A parameter is wrong, or the model is declared already.
    """
    files = check_and_as_str_tuple_list("servable_file", servable_file)
    if isinstance(options, dict):
        options = _acl_options(options)
    elif options is not None and not isinstance(options, (AclOptions, GpuOptions)):
        raise InvalidParameter(
            f"Parameter 'options' should be None, dict of <str,str> or AclOptions, but gotten {type(options)}"
        )
    return declare_model(files, model_format, with_batch_dim, options, without_batch_dim_inputs)


def _acl_options(options: Mapping[str, str]) -> AclOptions:
    for key in options:
        check_str("options key", key)
    return AclOptions(**options)


def check_without_batch_dim_inputs(indices: int | Sequence[int] | None) -> tuple[int, ...]:
    """Check the parameter `without_batch_dim_inputs` of a declaration.

    Args:
        indices: What the caller gave; None, and what is false but 0, for none.

    Returns:
        The indices.

    Raises:
        InvalidParameter: They are no numbers from 0 on, or one is there twice.
    """
    # 0 is the index of an input; other false values mean that there is none.
    if not indices and (indices != 0 or isinstance(indices, bool)):
        return ()
    return check_and_as_int_tuple_list("without_batch_dim_inputs", indices, 0)


def _context_of(context: Context | None, options: AclOptions | GpuOptions | None) -> Context:
    if context is not None:
        if not isinstance(context, Context):
            raise InvalidParameter(f"Parameter 'context' should be Context, but gotten {type(context)}")
        return context
    if options is None:
        return Context()
    if not isinstance(options, (AclOptions, GpuOptions)):
        raise InvalidParameter(
            f"Parameter 'options' should be None, GpuOptions or AclOptions, but gotten {type(options)}"
        )
    return options.context


def _config_path(config_file: str | None, directory: str) -> str | None:
    if config_file is None:
        return None
    check_str("config_file", config_file)
    return str(Path(directory) / config_file)
