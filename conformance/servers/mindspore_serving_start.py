"""Write the servables add and echo into the working directory, and serve them: HTTP_PORT GRPC_PORT."""

import sys
from pathlib import Path

from mindspore_serving import server

ADD = """\
from mindspore_serving.server import register

pair = register.TensorSpec("float32", [2])


def total(x1, x2):
    return x1 + x2


@register.register_method("y", inputs={"x1": pair, "x2": pair}, outputs={"y": pair})
def add(x1, x2):
    return register.add_stage(total, x1, x2, outputs_count=1)
"""
ECHO = """\
from mindspore_serving.server import register


def same(x):
    return x

"""
METHOD = """
@register.register_method("y", inputs={{"x": {kind}}}, outputs={{"y": {kind}}})
def {name}(x):
    return register.add_stage(same, x, outputs_count=1)
"""
NUMBERS = {
    **{f"{kind}{bits}": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
    "bool": "bool",
    "fp16": "float16",
    "fp32": "float32",
    "fp64": "float64",
}


def main() -> None:
    kinds = {name: f'register.TensorSpec("{dtype}", [2])' for name, dtype in NUMBERS.items()}
    kinds["bytes"] = "register.Bytes()"
    # Large requests go there: one row of any length.
    kinds["wide"] = 'register.TensorSpec("float32", [-1])'
    echo = ECHO + "".join(METHOD.format(name=name, kind=kind) for name, kind in kinds.items())
    for name, config in (("add", ADD), ("echo", echo)):
        Path(name).mkdir()
        Path(name, "servable_config.py").write_text(config)
    configs = [
        server.ServableStartConfig(str(Path.cwd()), name, num_parallel_workers=1) for name in ("add", "echo")
    ]
    server.start_servables(configs, allow_client_shared_memory=True)
    server.start_grpc_server(f"127.0.0.1:{sys.argv[2]}")
    server.start_restful_server(f"127.0.0.1:{sys.argv[1]}")


main()
