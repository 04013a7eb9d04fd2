"""What a trial is asked, and what it finds: both travel between two processes as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from mindspore_serving.tensor import DataType, TensorSpec


@dataclass(frozen=True, slots=True)
class Job:
    """What is tried.

    Attributes:
        path: The folder of a servable, or a model file.
        version: Version of the servable; 0 for the newest.
        device_type: `ascend`, `gpu`, `cpu`, or "" for the first that is there.
        enable_lite: Whether MindSpore Lite runs what MindSpore could run too.
        seconds: How long each batch size is measured; 0 measures none.
        most_rows: Largest batch that is measured where smaller ones run, too.
        dec_key: Key of encrypted models as hexadecimal digits; "" for plain ones.
        dec_mode: How they are encrypted.
    """

    path: str
    version: int = 0
    device_type: str = ""
    enable_lite: bool = False
    seconds: float = 0.0
    most_rows: int = 1 << 16
    dec_key: str = field(default="", repr=False)
    dec_mode: str = "AES-GCM"

    def to_json(self) -> str:
        """For `from_json`."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """What `to_json` has written."""
        return cls(**json.loads(text))


@dataclass(frozen=True, slots=True)
class BatchTime:
    """How long a batch takes.

    Attributes:
        rows: Instances of the batch.
        ms: Median of its times, in milliseconds.
        per_s: Instances per second, if such batches follow each other.
        spread: How much its times differ: half of the range that the middle half of them lies in, as a share of `ms`.
    """

    rows: int
    ms: float
    per_s: float
    spread: float = 0.0


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a model's file, with its whole shape."""

    name: str
    dtype: str
    shape: Sequence[int]

    @classmethod
    def of(cls, spec: TensorSpec) -> Tensor:
        """That of a signature."""
        return cls(spec.name, spec.dtype.name.lower(), list(spec.shape))

    @property
    def spec(self) -> TensorSpec:
        """As a signature has it."""
        return TensorSpec(self.name, DataType[self.dtype.upper()], tuple(self.shape))

    @property
    def text(self) -> str:
        """As people read it."""
        return f"{self.name}: {self.dtype}[{','.join('?' if dim == -1 else str(dim) for dim in self.shape)}]"


@dataclass(frozen=True, slots=True)
class ModelFound:
    """A model that was loaded.

    Attributes:
        name: Its files.
        platform: What runs it.
        with_batch_dim: Whether its first dimension is the batch.
        dynamic: Whether it takes fewer rows than `batch_size` as they are.
        batch_size: Most rows of a batch.
        inputs: Of the file, whole shapes.
        outputs: Likewise.
        times: Of some sizes of batches, ascending.
        size: Of dynamic dimensions beside the batch, with which it was measured.
        not_timed: Why there are no times.
    """

    name: str
    platform: str
    with_batch_dim: bool
    dynamic: bool
    batch_size: int
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    times: Sequence[BatchTime] = ()
    size: int = 0
    not_timed: str = ""

    @property
    def best(self) -> BatchTime | None:
        """The size of a batch with the most instances per second; None where nothing was measured."""
        return max(self.times, key=lambda one: one.per_s, default=None)


@dataclass(frozen=True, slots=True)
class StageShare:
    """How much of the time of a method a stage takes, from 0 to 1."""

    stage: str
    share: float


@dataclass(frozen=True, slots=True)
class MethodFound:
    """A method that was tried.

    Attributes:
        name: Its name.
        inputs: Each as `name: type` for people.
        outputs: Likewise.
        untyped: Inputs of which neither data type nor shape is known.
        examples: Number of its examples, all of which were answered, but those of methods that call other servables.
        times: Of some sizes of batches.
        stages: Shares of its stages, in their order; empty where it was not measured.
        not_timed: Why it was not measured.
        sent: Of a method that is a model alone, the input that clients send for each input of the model.
        given: Of such a method, which output of the model each of its outputs is, by name and number.
    """

    name: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    untyped: Sequence[str] = ()
    examples: int = 0
    times: Sequence[BatchTime] = ()
    stages: Sequence[StageShare] = ()
    not_timed: str = ""
    sent: Sequence[str] = ()
    given: Sequence[tuple[str, int]] = ()


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of the process in MiB: before anything is loaded, after that, and after all runs."""

    before_mb: float
    loaded_mb: float
    after_mb: float


@dataclass(frozen=True, slots=True)
class Found:
    """What a trial has found.

    Attributes:
        servable: Name of the servable.
        version: Of the servable.
        models: What was loaded.
        methods: What was tried.
        memory: Of the process.
        load_s: Seconds until all was loaded.
    """

    servable: str
    version: int
    models: Sequence[ModelFound]
    methods: Sequence[MethodFound]
    memory: Memory
    load_s: float

    def to_json(self) -> str:
        """For `found_from_json`."""
        return json.dumps(asdict(self))


def found_from_json(text: str) -> Found:
    """What `Found.to_json` has written."""
    document = json.loads(text)
    models = [
        ModelFound(
            **{
                **one,
                "inputs": [Tensor(**tensor) for tensor in one["inputs"]],
                "outputs": [Tensor(**tensor) for tensor in one["outputs"]],
                "times": [BatchTime(**time) for time in one["times"]],
            }
        )
        for one in document["models"]
    ]
    methods = [
        MethodFound(
            **{
                **one,
                "times": [BatchTime(**time) for time in one["times"]],
                "stages": [StageShare(**stage) for stage in one["stages"]],
            }
        )
        for one in document["methods"]
    ]
    return Found(**{**document, "models": models, "methods": methods, "memory": Memory(**document["memory"])})
