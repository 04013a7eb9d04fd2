"""What happens before, between and behind the models, with the functions of the package rapidocr."""

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from rapidocr.ch_ppocr_det.main import TextDetector
from rapidocr.ch_ppocr_det.utils import DBPostProcess, DetPreProcess
from rapidocr.ch_ppocr_rec.utils import CTCLabelDecode
from rapidocr.utils.process_img import get_rotate_crop_image, resize_image_within_bounds

HEIGHT = 48
"""Pixels of a line of text, as the models for lines take it."""
DIRECTION_WIDTH = 192
WIDTH_STEP = 160
"""A line is filled up to a multiple of this width, so that lines of about one length run together."""
SIDES = (30, 2000)
"""Shortest and longest side of a picture that is looked at; others are resized."""

_to_input = DetPreProcess(limit_side_len=960, limit_type="max")
_to_boxes = DBPostProcess(thresh=0.3, box_thresh=0.5, unclip_ratio=1.6, use_dilation=True)


def decode(image):
    """A PNG or JPEG file (bytes) as uint8 [height, width, 3]: blue, green, red.

    Raises:
        ValueError: It is no such file, or it is damaged.
    """
    try:
        with Image.open(io.BytesIO(image), formats=("JPEG", "PNG")) as picture:
            rgb = np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as cause:  # what Pillow raises
        raise ValueError("the image cannot be decoded: it is no valid PNG or JPEG file") from cause
    return np.ascontiguousarray(resize_image_within_bounds(rgb[:, :, ::-1], *SIDES)[0])


def detector_input(picture):
    """float32 [3, H, W]; H and W are multiples of 32."""
    return _to_input(picture)[0]


def boxes_of(picture, text_map):
    """Corners of the lines of text, from top to bottom: float32 [number of lines, 4, 2].

    Args:
        picture: uint8 [height, width, 3].
        text_map: float32 [1, H, W], how probable it is that a place belongs to text.
    """
    boxes, _ = _to_boxes(text_map[np.newaxis], picture.shape[:2])
    return TextDetector.sorted_boxes(boxes.astype(np.float32)).reshape(-1, 4, 2)


def cut_out(picture, box):
    """The line of text in a box, straight: uint8 [height, width, 3]."""
    return get_rotate_crop_image(picture, box.copy())


def line_input(line, width):
    """float32 [3, 48, width] from -1 to 1: the line at its left, 0 behind it."""
    shown = min(width, -(-HEIGHT * line.shape[1] // line.shape[0]))
    filled = np.zeros((3, HEIGHT, width), np.float32)
    filled[:, :, :shown] = cv2.resize(line, (shown, HEIGHT)).transpose(2, 0, 1) / 127.5 - 1
    return filled


def width_of(line):
    """Width that a line is filled up to."""
    return -(-HEIGHT * line.shape[1] // line.shape[0] // WIDTH_STEP) * WIDTH_STEP


def turned(line):
    """A line that stands on its head, upright."""
    return np.ascontiguousarray(line[::-1, ::-1])


def newest_decoder():
    """From what the recognition says to text; its characters are in the newest version folder beside this file."""
    files = [path for path in Path(__file__).parent.glob("*/characters.txt") if path.parent.name.isdigit()]
    characters = max(files, key=lambda path: int(path.parent.name)).read_text(encoding="utf-8")
    decoder = CTCLabelDecode(character=characters.splitlines())

    def text_and_score(probabilities):
        """Text of a line and its mean probability, from float32 [places, characters]."""
        ((text, score),), _ = decoder(probabilities[np.newaxis], False, wh_ratio_list=[1.0], max_wh_ratio=1.0)
        return text, score

    return text_and_score
