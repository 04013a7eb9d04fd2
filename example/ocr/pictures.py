"""Pictures with text, drawn here: the same at every call."""

import io

from PIL import Image, ImageDraw, ImageFont

RECEIPT = ("RECEIPT No. 20417", "Green tea        4.50", "Rice and fish   12.80", "Total           17.30")
SIGN = ("Platform 9", "Trains to Shenzhen")


def sample_pictures():
    """Name, file content and lines of text of each picture."""
    return {
        "receipt.png": (_as_file(_drawn(RECEIPT, (640, 320), 36, "black", "white")), RECEIPT),
        "sign.jpg": (_as_file(_drawn(SIGN, (700, 260), 60, "white", "navy"), "JPEG"), SIGN),
        "upside-down.png": (_as_file(_drawn(SIGN, (700, 260), 60, "white", "navy").rotate(180)), SIGN),
        "empty.png": (_as_file(Image.new("RGB", (300, 200), "white")), ()),
    }


def _drawn(lines, size, height, colour, background):
    picture = Image.new("RGB", size, background)
    draw = ImageDraw.Draw(picture)
    for i, line in enumerate(lines):
        draw.text((40, 30 + i * height * 1.8), line, fill=colour, font=ImageFont.load_default(height))
    return picture


def _as_file(picture, image_format="PNG"):
    file = io.BytesIO()
    picture.save(file, image_format)
    return file.getvalue()
