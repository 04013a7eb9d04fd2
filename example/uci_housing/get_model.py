"""Get the model `uci_housing_model`, and the configuration of its clients, out of a package of Paddle Serving."""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
PACKAGE = "paddle-serving-server==0.9.0"
INSIDE = "paddle_serving_server/env_check/fit_a_line"
NAMES = ("uci_housing_model", "uci_housing_client")


def get_model():
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--python-version=3.9"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*pip, "--only-binary=:all:", f"--dest={folder}", PACKAGE], check=True)
        [wheel] = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        for name in NAMES:
            shutil.copytree(Path(folder, INSIDE, name), FOLDER / name, dirs_exist_ok=True)
            print(f"Copied {FOLDER / name}")


if __name__ == "__main__":
    get_model()
