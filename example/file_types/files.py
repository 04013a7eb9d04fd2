"""Files of several kinds, made here: the same at every call."""

import gzip
import io
import json
import zipfile

import numpy as np
from PIL import Image

PYTHON = (
    "import sys\n\n\ndef main():\n    for word in sys.argv[1:]:\n        print(word.upper())\n\n\nmain()\n"
)
PAGE = "<!DOCTYPE html>\n<html><head><title>Tea</title></head><body><p>Green tea</p></body></html>\n"
TABLE = "name,price,stock\ngreen tea,4.50,12\nblack tea,3.90,7\nrice,2.10,40\n" * 5
ROWS = json.dumps({"instances": [{"name": f"row {i}", "value": i / 7} for i in range(20)]}, indent=2)


def sample_files():
    """Label that is expected, and content, of each file."""
    return {
        "python": PYTHON.encode(),
        "html": PAGE.encode(),
        "csv": TABLE.encode(),
        "json": ROWS.encode(),
        "png": _picture(),
        "gzip": gzip.compress(TABLE.encode(), mtime=0),
        "zip": _archive(),
        "npy": _array(),
    }


def _picture():
    file = io.BytesIO()
    Image.new("RGB", (40, 30), "green").save(file, "PNG")
    return file.getvalue()


def _archive():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in (("tea.html", PAGE), ("tea.csv", TABLE)):
            archive.writestr(zipfile.ZipInfo(name), text)
    return file.getvalue()


def _array():
    file = io.BytesIO()
    np.save(file, np.arange(100, dtype=np.float32))
    return file.getvalue()
