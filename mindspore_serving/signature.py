"""What a model and a method look like from outside: the facts that both sides of the process line agree on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType

from mindspore_serving.tensor import DataType, TensorSpec, fits

PARTIAL_REPLY_S = 5e-3
"""A batch that takes longer than this sends what is done already, so that nobody waits for slow batch-mates. So a batch
of quick instances may have as many as are done within it."""


@dataclass(frozen=True, slots=True)
class GraphSignature:
    """Inputs and outputs of one model file, as the file declares them.

    Attributes:
        inputs: Full shapes, the batch dimension included; -1 stands for a dynamic dimension, in any place.
        outputs: Likewise.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True)
class TensorType:
    """What is known of one input or output of a method before a request comes.

    Attributes:
        name: Its name.
        dtype: Data type; UNKNOWN where any is taken.
        shape: Of one instance, -1 for a dimension of any size; None where any shape is taken.
        content: What its bytes hold, as `image`; "" where that is not known.
        shared: Whether all instances of a request have one value in common, which so has no dimension for rows.
        declared: Whether the servable_config.py says it. Requests are checked against that when they are admitted.
            What is only known from a model's file is checked by the worker that holds the model, as it always was.
        description: What it is, in the words of the servable_config.py; "" where nothing is said.
        file_name: What the file of the model calls it that it goes straight into or comes straight out of; "" where
            there is none.
    """

    name: str
    dtype: DataType = DataType.UNKNOWN
    shape: tuple[int, ...] | None = None
    content: str = ""
    shared: bool = False
    declared: bool = False
    description: str = ""
    file_name: str = ""

    @property
    def is_known(self) -> bool:
        """Whether anything is known of it but its name."""
        return self.dtype is not DataType.UNKNOWN or self.shape is not None

    @property
    def text(self) -> str:
        """Its dtype and shape in an error text."""
        if self.dtype.is_text:
            return "text" if self.dtype is DataType.STRING else "bytes"
        name = "of any type" if self.dtype is DataType.UNKNOWN else self.dtype.name.lower()
        return name if self.shape is None else f"{name} of shape {list(self.shape)}"

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Whether a value of this shape fits; a single number or text does in a list of its own, as clients send it."""
        if self.shape is None or shape == self.shape:
            return True
        if self.shape == ():
            return shape == (1,)
        return fits(shape, self.shape)

    def agrees(self, dtype: DataType, shape: tuple[int, ...] | None) -> bool:
        """Whether a value can be this and that: of what is not known, nothing contradicts."""
        if self.dtype is not dtype and DataType.UNKNOWN not in (self.dtype, dtype):
            return False
        return (
            self.shape is None
            or shape is None
            or (
                len(self.shape) == len(shape)
                and all(-1 in (a, b) or a == b for a, b in zip(self.shape, shape, strict=True))
            )
        )

    def narrowed(self, shape: tuple[int, ...] | None) -> TensorType:
        """The same, with the dimensions that only `shape` tells; the two agree."""
        if self.shape is None or shape is None:
            return replace(self, shape=shape if self.shape is None else self.shape)
        dims = zip(self.shape, shape, strict=True)
        return replace(self, shape=tuple(own if own != -1 else other for own, other in dims))


_AS_MODELS_TAKE = frozenset((DataType.INT32, DataType.FLOAT16, DataType.FLOAT32, DataType.FLOAT64))
"""Types of models that numbers become which do not say their type: as ever, other integers have to be sent as such."""


@dataclass(frozen=True)
class MethodSignature:
    """One method of a servable, as its workers register it with the main process.

    Attributes:
        name: Method name.
        input_names: Names that every instance must carry, in the order of the method's parameters.
        batch_limit: Most instances of one message to a worker, at least 1; more if they turn out to be quick.
        fill: Batch size that pays off to fill before instances are spread over idle copies; 1 where batches do not
            matter, the model's batch size where short batches would be padded.
        full: Most instances that one of its stages takes at once; with as many nothing is gained by waiting for more.
        only_models: Whether it has stages, and all of them are models.
        waits: Whether it spends its time waiting for other methods, and must not keep them from running.
        output_names: Names of the outputs in a reply; empty for what clients do not call.
        inputs: What is known of its inputs, in the order of `input_names`; empty for what clients do not call.
        outputs: What is known of its outputs, in the order of `output_names`; likewise.
        rows: Whether the first dimension of a tensor counts instances, where clients send tensors instead of instances.
            Otherwise the tensors of a request are one instance.
        description: What it does, in the words of its docstring; "" where it has none.
        takes_parameters: Whether its stages ask for the parameters of requests. They come after the inputs, as one
            more text of each instance: a JSON object.
        platform: What runs it, as `{project}_{format}` of its models; "" where functions do, or models of several.
        examples: Instances that it has answered: each a JSON object as `instances` of REST has them. Only small ones
            are kept.
        steps: Names of its stages and models in the order in which they run; calls that are made together are one. Each
            is there once.
    """

    name: str
    input_names: tuple[str, ...]
    batch_limit: int
    fill: int = 1
    full: int = 1
    only_models: bool = False
    waits: bool = False
    output_names: tuple[str, ...] = ()
    inputs: tuple[TensorType, ...] = ()
    outputs: tuple[TensorType, ...] = ()
    rows: bool = False
    description: str = ""
    takes_parameters: bool = False
    platform: str = ""
    examples: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()

    @cached_property
    def number_types(self) -> Mapping[str, DataType]:
        """What numbers become that do not say their type, as those of JSON, by input; others are not there."""
        return MappingProxyType(
            {
                one.name: one.dtype
                for one in self.inputs
                if one.dtype in _AS_MODELS_TAKE
                or (one.declared and one.dtype is not DataType.UNKNOWN and not one.dtype.is_text)
            }
        )

    @property
    def is_pipeline(self) -> bool:
        """Whether it is a Python function with a thread of its own."""
        return self.waits and self.batch_limit == 1

    @cached_property
    def declares_inputs(self) -> bool:
        """Whether requests are checked when they are admitted."""
        return any(one.declared for one in self.inputs)


@dataclass(frozen=True, slots=True)
class CalledMethod:
    """A method that another method of the servable, or a pipeline, calls: of another servable, or of the same one.

    Attributes:
        caller: The method or pipeline that calls.
        servable: Name of the servable that is called.
        method: Its method.
        version: Its version; 0 for the highest one that runs, or for the caller's own version of the same servable.
        inputs_count: How many inputs the call gives; -1 where only the call itself tells.
        outputs_count: How many outputs it expects; likewise.
        given: For each of its inputs, which input of the caller goes straight into it; -1 for none.
        results: For each output of the caller, which of its outputs that is; -1 for none of them.
        beside_models: Whether the caller has models of its own, which tell what tensors of a request mean.
    """

    caller: str
    servable: str
    method: str
    version: int = 0
    inputs_count: int = -1
    outputs_count: int = -1
    given: tuple[int, ...] = ()
    results: tuple[int, ...] = ()
    beside_models: bool = False

    @property
    def label(self) -> str:
        """How error texts call it: `classifier.predict`, with the version where the call names one."""
        version = f" version {self.version}" if self.version else ""
        return f"{self.servable}.{self.method}{version}"

    def version_for(self, servable: str, version: int) -> int:
        """The version that is called; 0 for the highest one that runs.

        Args:
            servable: Name of the servable that calls.
            version: Its version.
        """
        return version if not self.version and self.servable == servable else self.version


@dataclass(frozen=True, slots=True)
class GraphInfo:
    """One file of a loaded model, as a worker that does not hold it needs to know it.

    Attributes:
        inputs: Shapes of one instance, -1 for a dynamic dimension; text has the shape ().
        outputs: As the file declares them, in order; shapes of results come with the results.
        batch_size: Most instances that run together.
        dynamic: Whether fewer instances run without padding.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batch_size: int
    dynamic: bool


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A loaded model.

    Attributes:
        key: File names joined with `;`.
        graphs: One per file.
    """

    key: str
    graphs: tuple[GraphInfo, ...]


NO_PARAMETERS = "{}"
"""The text of a request's parameters where it has none, for a method that takes them."""
PARAMETERS_SPEC = TensorSpec("@parameters", DataType.STRING, ())
"""What comes after the inputs of a method that takes parameters; clients cannot send it."""
CALL_PREFIX = "@call_"
"""Methods whose names begin so run one graph for other workers; clients cannot reach them."""


def call_method_name(key: str, subgraph: int) -> str:
    """Name of the method that runs one graph of a model for other workers."""
    return f"{CALL_PREFIX}{key}_{subgraph}"
