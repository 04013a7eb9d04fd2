"""What a model and a method look like from outside: the facts that both sides of the process line agree on."""

from __future__ import annotations

from dataclasses import dataclass

from mindspore_serving.tensor import TensorSpec


@dataclass(frozen=True, slots=True)
class GraphSignature:
    """Inputs and outputs of one model file, as the file declares them.

    Attributes:
        inputs: Full shapes, the batch dimension included; -1 stands for a dynamic first dimension.
        outputs: Likewise.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True)
class MethodSignature:
    """One method of a servable, as its workers register it with the main process.

    Attributes:
        name: Method name.
        input_names: Names that every instance must carry, in the order of the method's parameters.
        batch_limit: Most instances of one message to a worker, at least 1.
        fill: Batch size that pays off to fill before instances are spread over idle copies; 1 where batches do not
            matter, the model's batch size where short batches would be padded.
    """

    name: str
    input_names: tuple[str, ...]
    batch_limit: int
    fill: int = 1
