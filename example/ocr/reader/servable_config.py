"""Servable `reader`: the text in a picture.

One model finds lines, one says whether a line stands on its head, and one reads it.
"""

import numpy as np
from reader.pictures import (
    DIRECTION_WIDTH,
    boxes_of,
    cut_out,
    decode,
    detector_input,
    line_input,
    newest_decoder,
    turned,
    width_of,
)

from mindspore_serving.server import register

LEAST_SCORE = 0.5

# Pictures of any size; those of one size run together. All three files have dynamic dimensions beyond the batch.
detector = register.declare_model("detect.onnx", "ONNX", with_batch_dim=True, max_batch_size=4)
direction = register.declare_model("direction.onnx", "ONNX", with_batch_dim=True, max_batch_size=16)
recognizer = register.declare_model("recognize.onnx", "ONNX", with_batch_dim=True, max_batch_size=16)

text_and_score = newest_decoder()


def open_picture(image):
    """Bytes that a client sends arrive as a 1-D uint8 array."""
    picture = decode(image.tobytes())
    return picture, detector_input(picture)


def read_lines(picture, boxes):
    """Text of all lines, a line each, boxes int32 [k, 4, 2] and scores float32 [k] of those that could be read."""
    lines = [upright(line) for line in directions_of([cut_out(picture, box) for box in boxes])]
    read = [
        text_and_score(*output) for output in call(recognizer, [line_input(x, width_of(x)) for x in lines])
    ]
    kept = [i for i, (_, score) in enumerate(read) if score >= LEAST_SCORE]
    text = "\n".join(read[i][0] for i in kept)
    return text, boxes[kept].astype(np.int32), np.array([read[i][1] for i in kept], np.float32)


def directions_of(lines):
    """(line, probabilities that it stands upright and on its head) of each line."""
    outputs = call(direction, [line_input(line, DIRECTION_WIDTH) for line in lines])
    return zip(lines, (scores for (scores,) in outputs), strict=True)


def upright(line_and_direction):
    line, (_, on_its_head) = line_and_direction
    return turned(line) if on_its_head > 0.9 else line


def call(model, inputs):
    """Outputs of each input; the server puts together those of one shape."""
    return model.call([[x] for x in inputs]) if inputs else []


@register.register_method(
    output_names=["text", "boxes", "scores"],
    inputs={"image": register.Image("a PNG or JPEG file with text")},
    outputs={
        "text": register.Text("a line for each line in the picture"),
        "boxes": register.TensorSpec("int32", [-1, 4, 2], "corners of each line, in pixels"),
        "scores": register.TensorSpec("float32", [-1], "how sure it is of each line, up to 1"),
    },
)
def read(image):
    """The text in a picture, and where it stands."""
    picture, x = register.add_stage(open_picture, image, outputs_count=2)
    text_map = register.add_stage(detector, x, outputs_count=1)
    boxes = register.add_stage(boxes_of, picture, text_map, outputs_count=1)
    return register.add_stage(read_lines, picture, boxes, outputs_count=3)
