"""Copy the three models of the package rapidocr to ../reader/1/, and the characters that one of them knows."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import onnxruntime

VERSION_FOLDER = Path(__file__).resolve().parents[1] / "reader" / "1"
MODELS = {
    "PP-OCRv6_det_small.onnx": "detect.onnx",
    "ch_ppocr_mobile_v2.0_cls_mobile.onnx": "direction.onnx",
    "PP-OCRv6_rec_small.onnx": "recognize.onnx",
}


def main():
    package = Path(find_spec("rapidocr").origin).parent
    VERSION_FOLDER.mkdir(parents=True, exist_ok=True)
    for there, here in MODELS.items():
        shutil.copyfile(package / "models" / there, VERSION_FOLDER / here)
        print(f"Copied {VERSION_FOLDER / here}")
    session = onnxruntime.InferenceSession(
        VERSION_FOLDER / "recognize.onnx", providers=["CPUExecutionProvider"]
    )
    characters = session.get_modelmeta().custom_metadata_map["character"]
    (VERSION_FOLDER / "characters.txt").write_text(characters, encoding="utf-8")
    print(f"{len(characters.splitlines())} characters")


if __name__ == "__main__":
    main()
