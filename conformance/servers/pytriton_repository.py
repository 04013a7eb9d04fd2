"""Write a model repository for Triton's Python backend: FOLDER. add, and echo for each datatype."""

import shutil
import sys
from pathlib import Path

ECHOED = (
    *("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
    *("FP16", "FP32", "FP64", "BYTES", "BF16"),
)
# Large, so that the checks with large messages are allowed to send many rows.
MOST_ROWS = 1 << 20


def tensor(name: str, datatype: str) -> str:
    kind = "STRING" if datatype == "BYTES" else datatype
    return f'{{ name: "{name}" data_type: TYPE_{kind} dims: [ 2 ] }}'


def write(folder: Path, name: str, inputs: list[str], outputs: list[str]) -> None:
    settings = (
        f'name: "{name}" backend: "python" max_batch_size: {MOST_ROWS} dynamic_batching {{ }}\n'
        f"input [ {', '.join(inputs)} ]\noutput [ {', '.join(outputs)} ]\n"
        "instance_group [ { kind: KIND_CPU count: 1 } ]\n"
    )
    (folder / name / "1").mkdir(parents=True)
    (folder / name / "config.pbtxt").write_text(settings)
    shutil.copy(Path(__file__).with_name("pytriton_model.py"), folder / name / "1" / "model.py")


def main() -> None:
    folder = Path(sys.argv[1])
    write(folder, "add", [tensor("x1", "FP32"), tensor("x2", "FP32")], [tensor("y", "FP32")])
    for datatype in ECHOED:
        write(folder, f"echo_{datatype.lower()}", [tensor("x", datatype)], [tensor("y", datatype)])


main()
