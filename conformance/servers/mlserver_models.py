"""MLServer's models: add, and echo for each datatype. Runs in MLServer's environment."""

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


class Add(MLModel):
    """y = x1 + x2, FP32 [-1, 2]."""

    async def load(self) -> bool:
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        arrays = {each.name: NumpyCodec.decode_input(each).astype(np.float32) for each in payload.inputs}
        y = NumpyCodec.encode_output("y", arrays["x1"] + arrays["x2"])
        return InferenceResponse(id=payload.id, model_name=self.name, model_version=self.version, outputs=[y])


class Echo(MLModel):
    """y = x, any datatype, as MLServer holds it: no codec looks at the data."""

    async def load(self) -> bool:
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        x = payload.inputs[0]
        y = ResponseOutput(name="y", shape=x.shape, datatype=x.datatype, data=x.data)
        return InferenceResponse(id=payload.id, model_name=self.name, model_version=self.version, outputs=[y])
