"""Servable `voice`: whether somebody speaks, piece by piece of a sound. The state travels with the pieces."""

import numpy as np

from mindspore_serving.server import register

FRAME = 512
"""Samples of a frame, 32 ms at 16 kHz: the model says one probability for each."""
CONTEXT = 64
"""Samples before a frame that the model hears again."""
MEMORY = 128
STATE = 2 * MEMORY + CONTEXT

# One sound at a time, of any number of frames: its first dimension is the time, and no batch.
model = register.declare_model("voice.onnx", "ONNX", with_batch_dim=False)


def to_frames(sound, state):
    """Frames float32 [n, 64 + 512], each with the end of the one before, and the two halves of the memory."""
    if len(sound) == 0 or len(sound) % FRAME:
        raise ValueError(
            f"sound has {len(sound)} samples, expected a multiple of {FRAME}: fill up its end with 0"
        )
    hidden, cell, context = np.split(state, [MEMORY, 2 * MEMORY])
    frames = sound.reshape(-1, FRAME)
    contexts = np.concatenate([context[np.newaxis], frames[:-1, -CONTEXT:]])
    return np.concatenate([contexts, frames], 1), hidden.reshape(1, 1, -1), cell.reshape(1, 1, -1)


def to_state(hidden, cell, sound):
    return np.concatenate([hidden.ravel(), cell.ravel(), sound[-CONTEXT:]])


@register.register_method(
    output_names=["speech", "state"],
    inputs={
        "sound": register.TensorSpec("float32", [-1], "16 kHz, from -1 to 1; a multiple of 512 samples"),
        "state": register.TensorSpec(
            "float32", [STATE], "zeros for the first piece, then that of the last reply"
        ),
    },
    outputs={
        "speech": register.TensorSpec("float32", [-1], "how probable speech is, for each 512 samples"),
        "state": register.TensorSpec("float32", [STATE], "to be sent with the next piece"),
    },
    examples=[{"sound": np.zeros(16 * FRAME, np.float32), "state": np.zeros(STATE, np.float32)}],
)
def listen(sound, state):
    """How probable speech is in each 32 ms of a piece of sound."""
    frames, hidden, cell = register.add_stage(to_frames, sound, state, outputs_count=3)
    speech, hidden, cell = register.add_stage(model, frames, hidden, cell, outputs_count=3)
    return speech, register.add_stage(to_state, hidden, cell, sound, outputs_count=1)
