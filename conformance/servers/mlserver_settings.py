"""Write the settings of MLServer's models: FOLDER HTTP_PORT GRPC_PORT."""

import json
import sys
from pathlib import Path

ECHOED = (
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "FP32",
    "FP64",
    "BYTES",
)


def tensor(name: str, datatype: str) -> dict[str, object]:
    return {"name": name, "datatype": datatype, "shape": [-1, 2]}


def write(folder: Path, name: str, implementation: str, inputs: list[object], outputs: list[object]) -> None:
    settings = {
        "name": name,
        "implementation": f"mlserver_models.{implementation}",
        "platform": "python_numpy",
        "versions": ["1"],
        "parameters": {"version": "1"},
        "inputs": inputs,
        "outputs": outputs,
    }
    (folder / name).mkdir()
    (folder / name / "model-settings.json").write_text(json.dumps(settings))


def main() -> None:
    folder, http_port, grpc_port = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    server = {
        "host": "127.0.0.1",
        "http_port": http_port,
        "grpc_port": grpc_port,
        "metrics_port": grpc_port + 1,
        "parallel_workers": 0,
        "debug": False,
    }
    (folder / "settings.json").write_text(json.dumps(server))
    write(folder, "add", "Add", [tensor("x1", "FP32"), tensor("x2", "FP32")], [tensor("y", "FP32")])
    for datatype in ECHOED:
        write(folder, f"echo_{datatype.lower()}", "Echo", [tensor("x", datatype)], [tensor("y", datatype)])


main()
