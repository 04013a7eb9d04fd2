"""Copy the model of the package silero-vad to ../voice/1/."""

import shutil
from importlib.util import find_spec
from pathlib import Path

MODEL_FILE = Path(__file__).resolve().parents[1] / "voice" / "1" / "voice.onnx"


def main():
    # Found without importing it: its module imports PyTorch.
    package = Path(find_spec("silero_vad").origin).parent
    MODEL_FILE.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(package / "data" / "silero_vad_16k_sequence.onnx", MODEL_FILE)
    print(f"Copied {MODEL_FILE}")


if __name__ == "__main__":
    main()
