"""A model of Triton's Python backend: the sum of two inputs, or one input as it is. Runs in Triton's stub."""

import triton_python_backend_utils as pb_utils


def answer(request: object, model: str) -> object:
    inputs = request.inputs()
    if model == "add":
        output = pb_utils.Tensor("y", inputs[0].as_numpy() + inputs[1].as_numpy())
    elif model == "echo_bytes":
        output = pb_utils.Tensor("y", inputs[0].as_numpy())
    else:
        # DLPack knows BF16, numpy does not.
        output = pb_utils.Tensor.from_dlpack("y", inputs[0].to_dlpack())
    return pb_utils.InferenceResponse([output])


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        self.model = args["model_name"]

    def execute(self, requests: list[object]) -> list[object]:
        return [answer(request, self.model) for request in requests]
