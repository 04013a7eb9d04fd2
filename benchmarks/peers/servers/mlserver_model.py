"""MLServer: the runtimes that its model-settings.json names."""

from __future__ import annotations

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


class Add(MLModel):
    """x1 + x2."""

    async def load(self) -> bool:
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        x1, x2 = (NumpyCodec.decode_input(request_input) for request_input in payload.inputs)
        return InferenceResponse(model_name=self.name, id=payload.id, outputs=[self.output(x1, x2)])

    def output(self, x1: np.ndarray, x2: np.ndarray) -> ResponseOutput:
        return NumpyCodec.encode_output("y", x1 + x2)


class Identity(Add):
    """x1."""

    def output(self, x1: np.ndarray, x2: np.ndarray) -> ResponseOutput:
        return NumpyCodec.encode_output("y", x1)
