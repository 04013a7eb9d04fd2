"""Saves small networks in one of Paddle's two formats, with inputs and what Paddle itself gives for them.

Run as `python -m tests.paddle.make_models FOLDER`; FLAGS_enable_pir_api=0 in the environment chooses the format before
Paddle 3. For each network there is FOLDER/NAME/inference.* and FOLDER/NAME.npz.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from tests.paddle.saved_models import CIPHERS, KEY

OLD = not paddle.framework.use_pir_api()
ROWS = 3


class Conv(paddle.nn.Layer):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.conv = paddle.nn.Conv2D(3, 4, 3, padding=1)
        self.norm = paddle.nn.BatchNorm2D(4)
        self.scores = paddle.nn.Linear(4, 5)

    def forward(self, image: Any) -> Any:
        found = paddle.nn.functional.relu(self.norm(self.conv(image)))
        return paddle.nn.functional.softmax(self.scores(found.mean([2, 3])))


class Tokens(paddle.nn.Layer):  # type: ignore[misc]
    """Sequences of any length; the first output is as long as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.table = paddle.nn.Embedding(20, 4)

    def forward(self, ids: Any, scale: Any) -> Any:
        found = self.table(ids) * scale.unsqueeze(-1)
        return found, found.mean(1)


class Pixels(paddle.nn.Layer):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.scores = paddle.nn.Linear(12, 2)

    def forward(self, image: Any) -> Any:
        return self.scores(image.astype("float32").reshape([-1, 12]) / 255)


class Twice(paddle.nn.Layer):  # type: ignore[misc]
    """Without parameters."""

    def forward(self, x: Any) -> Any:
        return paddle.concat([x, x], axis=1)


class Total(paddle.nn.Layer):  # type: ignore[misc]
    """The first output has no batch."""

    def forward(self, x: Any) -> Any:
        return x.mean(), paddle.concat([x, x], axis=1)


def save(
    folder: Path, name: str, network: Any, inputs: dict[str, Any], shapes: list[list[int | None]]
) -> None:
    network.eval()
    specs = [
        paddle.static.InputSpec(shape, str(array.dtype), key)
        for shape, (key, array) in zip(shapes, inputs.items(), strict=True)
    ]
    paddle.jit.save(network, str(folder / name / "inference"), input_spec=specs)
    found = network(*map(paddle.to_tensor, inputs.values()))
    found = found if isinstance(found, tuple) else (found,)
    np.savez(folder / f"{name}.npz", **inputs, **{f"output{i}": one.numpy() for i, one in enumerate(found)})


def save_all(folder: Path) -> None:
    paddle.seed(1)
    random = np.random.default_rng(1)
    image = random.random((ROWS, 3, 8, 8), np.float32)
    save(folder, "conv", Conv(), {"image": image}, [[None, 3, 8, 8]])
    ids, scale = random.integers(0, 20, (ROWS, 6)), random.random((ROWS, 6), np.float32)
    save(folder, "tokens", Tokens(), {"ids": ids, "scale": scale}, [[None, None], [None, None]])
    pixels = random.integers(0, 256, (ROWS, 2, 2, 3), np.uint8)
    save(folder, "pixels", Pixels(), {"image": pixels}, [[None, 2, 2, 3]])
    x = random.random((ROWS, 4), np.float32)
    save(folder, "fixed", paddle.nn.Linear(4, 2), {"input": x}, [[ROWS, 4]])
    save(folder, "linear", paddle.nn.Linear(4, 2), {"input": x}, [[None, 4]])
    save(folder, "twice", Twice(), {"x": x.astype(np.float16)}, [[None, 4]])
    save(folder, "total", Total(), {"x": x}, [[None, 4]])
    for mode, cipher in CIPHERS.items():
        encrypt(folder, mode, cipher)
    if OLD:
        save_sequences(folder)


def encrypt(folder: Path, mode: str, name: str) -> None:
    """FOLDER/MODE: the network `conv`, encrypted."""
    settings = folder / "cipher.conf"
    settings.write_text(f"cipher_name : {name}\niv_size : 128\ntag_size : 128\n")
    cipher = paddle.base.core.CipherFactory.create_cipher(str(settings))
    (folder / mode).mkdir()
    for suffix in ("pdmodel" if OLD else "json", "pdiparams"):
        plain = (folder / "conv" / f"inference.{suffix}").read_bytes()
        (folder / mode / f"inference.{suffix}").write_bytes(cipher.encrypt(plain, KEY))


def save_sequences(folder: Path) -> None:
    """FOLDER/sequences: sums of sequences of different lengths in one tensor."""
    paddle.enable_static()
    program = paddle.static.Program()
    with paddle.static.program_guard(program):
        x = paddle.static.data("x", [-1, 2], "float32", lod_level=1)
        total = paddle.static.nn.sequence_lod.sequence_pool(x, "sum")
        executor = paddle.static.Executor(paddle.CPUPlace())
        where = str(folder / "sequences" / "inference")
        paddle.static.save_inference_model(where, [x], [total], executor, program=program)


if __name__ == "__main__":
    save_all(Path(sys.argv[1]))
