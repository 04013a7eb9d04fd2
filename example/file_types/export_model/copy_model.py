"""Copy the model of the package magika to ../filetype/1/, with its settings and what it knows about file types."""

import shutil
from importlib.util import find_spec
from pathlib import Path

VERSION_FOLDER = Path(__file__).resolve().parents[1] / "filetype" / "1"
FILES = {
    "models/standard_v3_3/model.onnx": "filetype.onnx",
    "models/standard_v3_3/config.min.json": "settings.json",
    "config/content_types_kb.min.json": "types.json",
}


def main():
    package = Path(find_spec("magika").origin).parent
    VERSION_FOLDER.mkdir(parents=True, exist_ok=True)
    for there, here in FILES.items():
        shutil.copyfile(package / there, VERSION_FOLDER / here)
        print(f"Copied {VERSION_FOLDER / here}")


if __name__ == "__main__":
    main()
