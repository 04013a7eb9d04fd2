"""What a servable_config.py declares, as data: models, methods and their stages."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from mindspore_serving.errors import RegistrationError
from mindspore_serving.server.register.context import Context
from mindspore_serving.server.register.method_source import StageCall
from mindspore_serving.server.register.user_code import calling_place
from mindspore_serving.signature import CalledMethod, TensorType


@dataclass(frozen=True, slots=True)
class Sharding:
    """How a model is cut into parts that run together.

    Attributes:
        rank_size: Number of parts, at least 1.
        stage_size: Number of pipeline stages, at least 1; the first `rank_size / stage_size` ranks are stage 0.
        enable_pipeline_infer: Whether up to `stage_size` batches may be under way at a time.
    """

    rank_size: int
    stage_size: int
    enable_pipeline_infer: bool


@dataclass(frozen=True, slots=True)
class ModelDeclaration:
    """One declared model.

    Attributes:
        key: File names joined with `;`; for a sharded model, the servable's name.
        files: File names in the version directory, one per subgraph; none for a sharded model, whose subgraphs are
            known once its parts are loaded.
        model_format: `mindir`, `mindir_lite`, `onnx`, `paddle` or `om`.
        with_batch_dim: Whether the first dimension of inputs and outputs is the batch.
        without_batch_dim_inputs: Inputs without a batch dimension although `with_batch_dim` is set.
        context: Threads and device options.
        config_file: Configuration for the backend, absolute; None for none.
        max_batch_size: Largest batch for a file with a dynamic first dimension.
        sharding: How the model is cut into parts; None for a model that is loaded as a whole.
        strict_shape: Whether an instance of another shape with as many elements is refused.
        runtime_options: Options of the library that runs it, by name.
    """

    key: str
    files: tuple[str, ...]
    model_format: str
    with_batch_dim: bool
    without_batch_dim_inputs: tuple[int, ...]
    context: Context
    config_file: str | None
    max_batch_size: int
    sharding: Sharding | None = None
    strict_shape: bool = False
    runtime_options: Mapping[str, str | float] = field(default_factory=dict)


class StageKind(Enum):
    """What runs a stage."""

    FUNCTION = "function"
    MODEL = "model"
    BUILT_IN = "built-in"
    PIPELINE = "pipeline"
    CALL = "call"


class ValueRef(NamedTuple):
    """Where a value comes from: output `output` of stage `stage`; stage 0 stands for the method's inputs."""

    stage: int
    output: int


@dataclass(frozen=True, slots=True)
class StageDefinition:
    """One step of a method.

    Attributes:
        index: Position in the method, from 1 on.
        kind: What runs it.
        target: Printed name of the function or of the called method, key of the model, or name of the built-in.
        function: The function, for stages of kind FUNCTION and PIPELINE.
        inputs: Where its inputs come from.
        outputs_count: Number of outputs.
        takes_batch: Whether the function is called with a tuple of instances.
        batch_size: Most instances of one call; 0 leaves it to the models of the method.
        tag: How error texts call the stage.
        subgraph: Which file of the model, for stages of kind MODEL.
        called: What is called, for stages of kind CALL.
    """

    index: int
    kind: StageKind
    target: str
    function: Callable[..., Any] | None
    inputs: tuple[ValueRef, ...]
    outputs_count: int
    takes_batch: bool
    batch_size: int
    tag: str
    subgraph: int = 0
    called: CalledMethod | None = None


@dataclass(frozen=True, slots=True)
class MethodDefinition:
    """One registered method; or one pipeline, whose only stage is its function.

    Attributes:
        name: Name that clients use.
        input_names: Names of what clients send: the parameters of its function, but for the one named `parameters`.
        output_names: Names in the reply.
        stages: In the order in which they were added.
        outputs: Where each output comes from.
        input_types: What it says about its inputs, in their order; empty for what says nothing.
        output_types: Likewise.
        parameters: The parameter of its function that the parameters of requests are for; "" for none. As a value it
            comes after the inputs.
        description: Its docstring.
        examples: Instances that it is to answer: a value for each input, and for `parameters` maybe.
    """

    name: str
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    stages: tuple[StageDefinition, ...]
    outputs: tuple[ValueRef, ...]
    input_types: tuple[TensorType, ...] = ()
    output_types: tuple[TensorType, ...] = ()
    parameters: str = ""
    description: str = ""
    examples: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values that an instance comes with: its inputs, and the parameters of the request."""
        return (*self.input_names, self.parameters) if self.parameters else self.input_names

    def used_after(self, stage: StageDefinition) -> tuple[int, ...]:
        """Positions of those inputs of a stage that later stages take, too, or that are outputs of the method."""
        later = {ref for other in self.stages if other.index > stage.index for ref in other.inputs}
        return tuple(i for i, ref in enumerate(stage.inputs) if ref in later or ref in self.outputs)


class FunctionUse(NamedTuple):
    """How a function is used as a stage."""

    takes_batch: bool
    inputs_count: int
    outputs_count: int


@dataclass(slots=True, eq=False)
class MethodTrace:
    """A method while its function is traced.

    Attributes:
        name: Its name.
        input_names: Its inputs.
        calls: The `call_*` stages that its source shows.
        stages: What was added so far.
        roles: Which parts of a method the `call_*` stages added so far have played.
    """

    name: str
    input_names: tuple[str, ...]
    calls: tuple[StageCall, ...] = ()
    stages: list[StageDefinition] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)

    @property
    def parameters(self) -> ValueRef:
        """Where the parameters of requests are, in a method that asks for them."""
        return ValueRef(0, len(self.input_names))


class ServableDefinition:
    """Everything one servable_config.py declares.

    Args:
        name: Servable name.
        directory: Directory of its servable_config.py.

    Attributes:
        failed_method: While the file is imported: the method or pipeline that was registered last, and what was raised,
            where that failed.
        called_by_pipelines: What pipelines can call of other servables; any of them may call any of these.
    """

    def __init__(self, name: str, directory: str) -> None:
        self.name = name
        self.directory = directory
        self.models: dict[str, ModelDeclaration] = {}
        self.methods: dict[str, MethodDefinition] = {}
        self.pipelines: dict[str, MethodDefinition] = {}
        self.called_by_pipelines: list[CalledMethod] = []
        self.trace: MethodTrace | None = None
        self.failed_method: tuple[str, BaseException] | None = None
        self._function_use: dict[Callable[..., Any], FunctionUse] = {}
        self._model_arity: dict[tuple[str, int], tuple[int, int]] = {}
        self._declared_at: dict[str, str] = {}
        self._used_at: dict[tuple[str, int], str] = {}

    def __repr__(self) -> str:
        names = [*self.methods, *self.pipelines]
        return f"<ServableDefinition {self.name}: models {list(self.models)}, methods {names}>"

    @property
    def exposed(self) -> list[MethodDefinition]:
        """What clients may call: pipelines and methods; a pipeline hides the method of its name."""
        return list({**self.methods, **self.pipelines}.values())

    @property
    def calls(self) -> tuple[CalledMethod, ...]:
        """What methods and pipelines call, each once."""
        stages = (stage for method in self.methods.values() for stage in method.stages)
        of_methods = [stage.called for stage in stages if stage.called is not None]
        return tuple(dict.fromkeys([*of_methods, *self.called_by_pipelines]))

    @contextlib.contextmanager
    def registering(self, name: str) -> Iterator[None]:
        """Remember that what is raised now is about a method or pipeline.

        Args:
            name: Its name.
        """
        try:
            yield
        except BaseException as error:
            self.failed_method = name, error
            raise
        self.failed_method = None

    def declared_at(self, key: str) -> str:
        """Where the user's code declares a model, `file:line`."""
        return self._declared_at[key]

    def used_at(self, key: str, subgraph: int) -> str:
        """Which method uses a model as a stage first, and where: `method 'm', file:line`."""
        return self._used_at[key, subgraph]

    def add_model(self, model: ModelDeclaration) -> None:
        """Add a declared model.

        Raises:
            RegistrationError: The model, or one of its files, is declared already; or the servable has a sharded model
                besides another one.
        """
        self._check_only_sharded(model)
        used = {file for other in self.models.values() for file in other.files}
        for file in model.files:
            if file in used:
                raise RegistrationError(
                    f"Raise failed: Declare model [{model.key}] failed, model file '{file}' has already been used"
                )
        self.models[model.key] = model
        self._declared_at[model.key] = calling_place()

    def _check_only_sharded(self, model: ModelDeclaration) -> None:
        has_sharded = any(other.sharding is not None for other in self.models.values())
        problem = ""
        if model.sharding is None and has_sharded:
            problem = "Declare model failed, servable has already been declared as distributed servable"
        elif model.sharding is not None and has_sharded:
            problem = "Declare distributed model failed, servable is repeatedly been declared as distributed servable"
        elif model.sharding is not None and self.models:
            problem = "Declare distributed model failed, servable has already been declared as local servable"
        if problem:
            raise RegistrationError(f"Raise failed: {problem}")

    def add_method(self, method: MethodDefinition) -> None:
        """Add a traced method.

        Raises:
            RegistrationError: The name is taken.
        """
        if method.name in self.methods:
            raise RegistrationError(f"Raise failed: Method {method.name} has been registered more than once.")
        self.methods[method.name] = method

    def add_pipeline(self, pipeline: MethodDefinition) -> None:
        """Add a pipeline.

        Raises:
            RegistrationError: The name is taken by another pipeline.
        """
        if pipeline.name in self.pipelines:
            raise RegistrationError(
                f"Raise failed: Pipeline {pipeline.name} has been registered more than once."
            )
        self.pipelines[pipeline.name] = pipeline

    def check_function_stage(self, method: str, function: Callable[..., Any], use: FunctionUse) -> None:
        """Check that a function is used in the same way wherever it is a stage.

        Raises:
            RegistrationError: It is not.
        """
        name = f"{self.name}.{function.__name__}"
        earlier = self._function_use.setdefault(function, use)
        if use.takes_batch != earlier.takes_batch:
            raise RegistrationError(
                f"Failed to add stage function {name}: parameter 'batch_size' in multiple 'add_stage' should be "
                "enabled or disabled consistently"
            )
        for what, now, before in (
            ("inputs", use.inputs_count, earlier.inputs_count),
            ("outputs", use.outputs_count, earlier.outputs_count),
        ):
            if now != before:
                raise RegistrationError(
                    f"Stage function '{name}' {what} count {now} not match last registered count {before}, method "
                    f"name '{method}'"
                )

    def check_model_stage(
        self, method: str, key: str, subgraph: int, inputs_count: int, outputs_count: int
    ) -> None:
        """Check that a subgraph exists, and has the same number of inputs and outputs wherever it is used.

        How many subgraphs a sharded model has is not known yet, and not checked.

        Raises:
            RegistrationError: It does not, or has not.
        """
        model = self.models[key]
        if model.sharding is None and subgraph >= len(model.files):
            raise RegistrationError(
                f"Check failed in method '{method}', the model {key} does not have subgraph of index {subgraph}, the "
                f"subgraph count of the model is {len(model.files)}"
            )
        inputs, outputs = self._model_arity.setdefault((key, subgraph), (inputs_count, outputs_count))
        self._used_at.setdefault((key, subgraph), f"method '{method}', {calling_place()}")
        which = f"{key}, subgraph: {subgraph}" if subgraph else key
        for what, now, before in (("inputs", inputs_count, inputs), ("outputs", outputs_count, outputs)):
            if now != before:
                raise RegistrationError(
                    f"Raise failed: RegisterInputOutputInfo failed, {what} count {now} not match old count "
                    f"{before}, model: {which}"
                )

    @property
    def model_arity(self) -> dict[tuple[str, int], tuple[int, int]]:
        """Inputs and outputs count of each subgraph that is a stage, by model key and subgraph."""
        return dict(self._model_arity)
