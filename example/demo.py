"""Serve two of the examples, add and lenet, over gRPC and REST; what is not exported yet is exported first.

With --lite, MindSpore Lite runs their models.
"""

from __future__ import annotations

import argparse
import base64
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
READY = "Press Ctrl+C to stop"
MODELS = (
    ("the Add model", "tensor_add/export_model/add_model.py", "add/1/tensor_add.mindir"),
    ("LeNet", "lenet/export_model/train_lenet.py", "lenet/1/lenet.mindir"),
)
TO_TRY = """
==> Ready. Try it in another terminal, in {folder}

REST, the sum of two matrices:

curl -X POST -d '{{"instances": [{{"x1": [[1.0, 2.0], [3.0, 4.0]], "x2": [[1.0, 1.0], [1.0, 1.0]]}}]}}' {add_url}

REST, the digit that an image of 8x8 pixels shows, here {digit}:

curl -X POST -d '{{"instances": [{{"image": {{"b64": "{image}"}}}}]}}' {lenet_url}

gRPC, with the Python client:

{python} - <<'END'
import numpy as np
from mindspore_serving.client import Client
x = np.ones((2, 2), np.float32)
print(Client("{grpc}", "add", "add_common").infer([{{"x1": x, "x2": x}}, {{"x1": x * 2, "x2": x}}]))
END

Both, with 360 images of digits:

{python} {client} --grpc {grpc} --rest {rest}

Logs of the workers are in {logs}. {ready}"""


def main() -> int:
    arguments = parse_arguments()
    try:
        if arguments.check:
            from demo_check import check

            export_what_is_missing(arguments.lite)
            return check(Path(__file__), ready_line=READY, lite=arguments.lite)
        for address in (arguments.grpc, arguments.rest):
            require_free(address)
        export_what_is_missing(arguments.lite)
        serve(arguments.grpc, arguments.rest, arguments.lite)
    except RuntimeError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: stopped", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check",
        action="store_true",
        help="serve at free addresses, send requests over gRPC, REST and a Unix socket, and end; "
        "the exit status is 0 if all replies were right",
    )
    parser.add_argument(
        "--lite", action="store_true", help="run the models with MindSpore Lite, which ./build.sh lite makes"
    )
    parser.add_argument(
        "--grpc",
        metavar="ADDRESS",
        default="127.0.0.1:5500",
        help="where gRPC listens, ip:port or unix:path (default: %(default)s)",
    )
    parser.add_argument(
        "--rest",
        metavar="ADDRESS",
        default="127.0.0.1:1500",
        help="where REST listens, ip:port (default: %(default)s)",
    )
    return parser.parse_args()


def directory(example: str, lite: bool) -> Path:
    """Where the servables of an example are; for Lite the same ones lie elsewhere, beside models that it reads."""
    return HERE / example / "lite" if lite else HERE / example


def export_what_is_missing(lite: bool) -> None:
    for title, script, name in MODELS:
        file = directory(Path(script).parts[0], lite) / name
        if file.exists():
            continue
        print(f"==> Exporting {title}", flush=True)
        begin = time.monotonic()
        status = subprocess.run([sys.executable, HERE / script, *(["--lite"] if lite else [])]).returncode
        if status or not file.exists():
            raise RuntimeError(f"example/{script} failed with exit status {status}, its reason stands above")
        print(f"    done in {time.monotonic() - begin:.1f} s", flush=True)


def require_free(address: str) -> None:
    """Find out about a busy port before anything else is done; other mistakes are left to the server."""
    host, _, port = address.rpartition(":")
    if ":" in host or not port.isdigit():
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except (OSError, OverflowError) as cause:
            raise RuntimeError(
                f"cannot listen on {address}: {cause}\n"
                "Another server may run there. Stop it, or choose other addresses, for example:\n"
                "./build.sh demo --grpc 127.0.0.1:5501 --rest 127.0.0.1:1501"
            ) from cause


def serve(grpc: str, rest: str, lite: bool) -> None:
    """Start everything. The process then lives until Ctrl+C, although the script has come to its end."""
    from mindspore_serving import server

    library = "MindSpore Lite" if lite else "MindSpore"
    print(f"==> Starting the servables add, on two workers, and lenet, with {library}", flush=True)
    server.start_servables(
        [
            server.ServableStartConfig(str(directory("tensor_add", lite)), "add", device_ids=(0, 1)),
            server.ServableStartConfig(str(directory("lenet", lite)), "lenet", device_ids=2),
        ],
        enable_lite=lite,
    )
    server.start_grpc_server(grpc)
    server.start_restful_server(rest)
    image, digit = an_image()
    print(
        TO_TRY.format(
            folder=Path.cwd(),
            add_url=f"http://{rest}/model/add:add_common",
            lenet_url=f"http://{rest}/model/lenet:predict",
            image=base64.b64encode(image).decode(),
            digit=digit,
            python=relative(Path(sys.executable)),
            client=relative(HERE / "lenet" / "serving_client.py"),
            grpc=grpc,
            rest=rest,
            logs=relative(Path.cwd() / "serving_logs"),
            ready=READY,
        ),
        flush=True,
    )


def an_image() -> tuple[bytes, int]:
    """A PNG file that the model was not trained with, and the digit that it shows."""
    from lenet.digits import held_out_set

    images, labels = held_out_set()
    return images[0], int(labels[0])


def relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


if __name__ == "__main__":
    status = main()
    if status:  # `sys.exit`, even with 0, would end the server
        sys.exit(status)
