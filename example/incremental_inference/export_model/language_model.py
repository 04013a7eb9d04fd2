"""Export the two graphs of a language model to ../language_model/1: one for a prompt, one for a single token."""

import sys
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

EXAMPLE = Path(__file__).resolve().parents[1]
VERSION_FOLDER = EXAMPLE / "language_model" / "1"
sys.path.append(str(EXAMPLE))

import reference  # noqa: E402  # beside this folder


class Step(nn.Cell):
    """One token of shape (1,): the scores of the next one, and the new state."""

    def __init__(self):
        super().__init__()
        self.embedding = Tensor(reference.EMBEDDING)
        self.recurrent = Tensor(reference.RECURRENT)
        self.output = Tensor(reference.OUTPUT)

    def construct(self, token, state):
        state = ops.tanh(ops.gather(self.embedding, token, 0) + ops.matmul(state, self.recurrent))
        return ops.matmul(state, self.output), state


class Prompt(nn.Cell):
    """A whole prompt, token by token, from an empty state."""

    def __init__(self):
        super().__init__()
        self.step = Step()
        self.empty = Tensor(np.zeros((1, reference.WIDTH), np.float32))

    def construct(self, tokens):
        scores, state = self.step(tokens[0:1], self.empty)
        for i in range(1, reference.PROMPT_LENGTH):
            scores, state = self.step(tokens[i : i + 1], state)
        return scores, state


def export(network, inputs, model_file):
    """Write a MindIR file under its name once it is complete. MindSpore makes files that cannot be overwritten."""
    unfinished = model_file.with_name("unfinished.mindir")
    model_file.parent.mkdir(parents=True, exist_ok=True)
    unfinished.unlink(missing_ok=True)
    ms.export(network, *inputs, file_name=str(unfinished), file_format="MINDIR")
    unfinished.chmod(0o644)
    unfinished.replace(model_file)
    print(f"Exported {model_file}")


def main():
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    prompt = Tensor(np.zeros(reference.PROMPT_LENGTH, np.int32))
    token = Tensor(np.zeros(1, np.int32))
    state = Tensor(np.zeros((1, reference.WIDTH), np.float32))
    export(Prompt(), [prompt], VERSION_FOLDER / "prompt.mindir")
    export(Step(), [token, state], VERSION_FOLDER / "step.mindir")


if __name__ == "__main__":
    main()
